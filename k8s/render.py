"""Plain manifests for those who do without Helm.

serve-gpu.yaml, serve-cpu.yaml and loadtest.yaml are rendered from the chart; retrain-cronjob.yaml is made from
training-job.yaml, analysis-template.yaml from the chart's watch of a canary, and predict-job.yaml with the image, the
resources and the security context of the chart's server.

python k8s/render.py      (part of `make chart`; $HELM names helm where it is not on the PATH)
"""

import os
import re
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
CHART = HERE.parent / "helm"
CPU = f"--values={CHART / 'values-cpu.yaml'}"
# File: what it has, and what helm is told.
RENDERED = {
    "serve-gpu.yaml": ("catsdogs on a GPU pool", []),
    "serve-cpu.yaml": ("catsdogs on CPU nodes", [CPU]),
    "loadtest.yaml": (
        "A load test of serve-gpu.yaml or serve-cpu.yaml",
        [CPU, "--set=loadtest.enabled=true", "--show-only=templates/loadtest-job.yaml"],
    ),
}
# The oldest version that the chart takes: what it renders must not follow from the helm that rendered it.
KUBE_VERSION = "1.29.0"
# Helm would take these objects for its own.
HELMS = re.compile(r"^ *(helm\.sh/chart|app\.kubernetes\.io/managed-by): .*\n", re.MULTILINE)


def template(*arguments: str) -> str:
    """Run `helm template` with these arguments, and return its output."""
    command = [os.environ.get("HELM", "helm"), "template", "catsdogs", str(CHART), "--kube-version", KUBE_VERSION]
    return subprocess.run([*command, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def render(name: str) -> str:
    """The content of k8s/`name`."""
    what, arguments = RENDERED[name]
    rendered = template("--skip-tests", *arguments)
    # Versions of helm differ in the empty lines between documents.
    documents = [text.strip() for text in re.split(r"^---\n", HELMS.sub("", rendered), flags=re.MULTILINE)]
    head = (
        f"# {what}, rendered from helm/ by `make chart`: change that, not this.\n"
        f"# kubectl apply --namespace catsdogs -f k8s/{name}\n"
    )
    return head + "".join(f"---\n{text}\n" for text in documents if text)


CRONJOB = """\
# training-job.yaml every Sunday, on the pictures in /data/pictures, made from it by `make chart`: change that, not this
#   kubectl apply --namespace catsdogs -f k8s/retrain-cronjob.yaml
# and on CPUs alone, without the lines that end in "GPU":
#   sed '/# GPU$/d' k8s/retrain-cronjob.yaml | kubectl apply --namespace catsdogs -f -
# Each Job has a run, a release and archives of its own, named after it, which nobody removes. It deploys nothing.
"""
SCHEDULE = """\
apiVersion: batch/v1
kind: CronJob
metadata:
  name: catsdogs-retraining
spec:
  schedule: "0 3 * * 0"
  timeZone: Etc/UTC
  # Two would write to one manifest.
  concurrencyPolicy: Forbid
  # One that could not start in time, for its cluster was down, waits for the next Sunday.
  startingDeadlineSeconds: 3600
  successfulJobsHistoryLimit: 3
  failedJobsHistoryLimit: 3
  jobTemplate:
"""
# What differs in a Job of many: text of training-job.yaml, and what takes its place.
DIFFERENT = {
    "          # Or a folder of class folders on the volume, such as /data/pictures.\n": (
        "          # Class folders, to which pictures may be added: those of before stay on their side of the split.\n"
    ),
    "microsoft-cats-vs-dogs, --download-to=/data/downloads": "/data/pictures",
    "            - {name: HOME, value: /tmp}\n": (
        "            # The same in a pod that goes on where another was lost.\n"
        "            - name: JOB_NAME\n"
        "              valueFrom: {fieldRef: {fieldPath: \"metadata.labels['batch.kubernetes.io/job-name']\"}}\n"
        "            - {name: HOME, value: /tmp}\n"
    ),
    "/model-store/runs/catsdogs": "/model-store/runs/$(JOB_NAME)",
    "/model-store/catsdogs": "/model-store/$(JOB_NAME)",
    "--version=1.0.0": "--version=$(JOB_NAME)",
}


def cronjob() -> str:
    """The content of k8s/retrain-cronjob.yaml."""
    claims, head, job = (HERE / "training-job.yaml").read_text().partition("apiVersion: batch/v1\nkind: Job\n")
    assert head, "training-job.yaml has no Job."
    for old, new in DIFFERENT.items():
        assert old in job, f"training-job.yaml has no {old!r}: change DIFFERENT."
        job = job.replace(old, new)
    spec = job[job.index("spec:\n") :]
    claims = claims[claims.index("apiVersion: ") :]
    return CRONJOB + claims + SCHEDULE + "".join(f"    {line}" for line in spec.splitlines(keepends=True))


ANALYSIS = """\
# A watch of both tracks by `catsdogs canary` as an analysis of Argo Rollouts, rendered from helm/ by `make chart`:
# change that, not this.
#   kubectl apply --namespace catsdogs -f k8s/analysis-template.yaml
# The Job's success promotes the candidate, its failure aborts the rollout. `stable` and `candidate` are the addresses
# of the Rollout's stableService and canaryService.
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata:
  name: catsdogs-canary
spec:
  args:
    - {name: stable, value: "http://catsdogs-stable:8080"}
    - {name: candidate, value: "http://catsdogs-canary:8080"}
  metrics:
    - name: canary
      failureLimit: 0
      provider:
        job:
          spec:
"""
WATCH = [CPU, "--set=canary.enabled=true", "--set=canary.image.tag=next", "--set=canary.watch.enabled=true"]


def analysis_template() -> str:
    """The content of k8s/analysis-template.yaml."""
    job = HELMS.sub("", template(*WATCH, "--show-only=templates/canary-job.yaml"))
    spec = job[job.index("\nspec:\n") + len("\nspec:\n") :].rstrip() + "\n"
    for option, track in (("stable", "stable"), ("candidate", "canary")):
        address = f"--{option}=http://catsdogs-{track}:8080"
        assert address in spec, f"The watch has no {address}: change analysis_template."
        spec = spec.replace(address, f"--{option}={{{{args.{option}}}}}")
    return ANALYSIS + "".join(f"          {line}" for line in spec.splitlines(keepends=True))


PREDICT = """\
# Predictions of the pictures on a volume, by {count} pods that share them, rendered from helm/ and k8s/render.py by
# `make chart`: change that, not this.
#   kubectl apply --namespace catsdogs -f k8s/predict-job.yaml
# docs/how-to/predict-many.md has buckets, other numbers of pods, and how the parts are read. For another number of pods
# change `completions`, `parallelism` and `--shard`, and take another folder or bucket for `--out`.
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: catsdogs-pictures
spec:
  # All pods read it. Where the default StorageClass is of disks, name one of a shared file system (NFS, EFS, Filestore,
  # Azure Files), here and below.
  accessModes: [ReadWriteMany]
  resources: {{requests: {{storage: 100Gi}}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: catsdogs-predictions
spec:
  accessModes: [ReadWriteMany]
  # A row has about 300 bytes.
  resources: {{requests: {{storage: 5Gi}}}}
---
# Where the network plugin enforces it: nobody may connect to the pods, which may ask DNS and the web alone.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: catsdogs-predict
spec:
  podSelector:
    matchLabels: {{app.kubernetes.io/name: catsdogs, app.kubernetes.io/component: predict}}
  policyTypes: [Ingress, Egress]
  egress:
    - ports: [{{port: 53, protocol: UDP}}, {{port: 53, protocol: TCP}}]
    # The web, for buckets, but not the addresses by which clouds hand out credentials. A bucket in the cluster, and EKS
    # Pod Identity (169.254.170.23), need a rule of their own.
    - to:
        - ipBlock: {{cidr: 0.0.0.0/0, except: [169.254.0.0/16]}}
        - ipBlock: {{cidr: "::/0", except: ["fe80::/10", "fd00:ec2::/32"]}}
      ports: [{{port: 443}}]
---
apiVersion: batch/v1
kind: Job
metadata:
  name: catsdogs-predict
  labels: {{app.kubernetes.io/name: catsdogs, app.kubernetes.io/component: predict}}
spec:
  completionMode: Indexed
  completions: {count}
  parallelism: {count}
  # Each index for itself: one that fails for good does not end the others. A pod goes on where the last one was.
  backoffLimitPerIndex: 6
  podFailurePolicy:
    rules:
      # A pod that had to give way did not fail.
      - action: Ignore
        onPodConditions: [{{type: DisruptionTarget, status: "True"}}]
      # catsdogs ends with 2 where what it was given is wrong: another try would find the same.
      - action: FailJob
        onExitCodes: {{containerName: predict, operator: In, values: [2]}}
  template:
    metadata:
      labels: {{app.kubernetes.io/name: catsdogs, app.kubernetes.io/component: predict}}
    spec:
      restartPolicy: Never
      automountServiceAccountToken: false
      enableServiceLinks: false
      # Longer than a part takes, which is finished before the pod goes.
      terminationGracePeriodSeconds: 120
      securityContext:
{pod_security}
      containers:
        - name: predict
          image: "{image}"
          imagePullPolicy: IfNotPresent
          command:
            - catsdogs
            - predict
            - /pictures
            - --out=/predictions/all
            - --model=/models/catsdogs.mar
            # The index is the pod's. It has as many workers as `limits.cpu` allows.
            - --shard={count}
          resources:
{resources}
          securityContext:
{security}
          terminationMessagePolicy: FallbackToLogsOnError
          volumeMounts:
            - {{name: pictures, mountPath: /pictures, readOnly: true}}
            - {{name: predictions, mountPath: /predictions}}
            # The unpacked model, and the list of this pod's pictures.
            - {{name: run, mountPath: /run/catsdogs}}
      volumes:
        - {{name: pictures, persistentVolumeClaim: {{claimName: catsdogs-pictures}}}}
        - {{name: predictions, persistentVolumeClaim: {{claimName: catsdogs-predictions}}}}
        - {{name: run, emptyDir: {{sizeLimit: 2Gi}}}}
"""
SHARDS = 3


def predict_job() -> str:
    """The content of k8s/predict-job.yaml."""
    (deployment,) = yaml.safe_load_all(template(CPU, "--show-only=templates/deployment.yaml"))
    pod = deployment["spec"]["template"]["spec"]
    (server,) = (container for container in pod["initContainers"] if container["name"] == "torchserve")

    def text(value: Any, indent: int) -> str:
        return textwrap.indent(yaml.safe_dump(value).rstrip(), " " * indent)

    return PREDICT.format(
        count=SHARDS,
        image=server["image"],
        pod_security=text(pod["securityContext"], 8),
        resources=text(server["resources"], 12),
        security=text(server["securityContext"], 12),
    )


def main() -> None:
    for name in RENDERED:
        (HERE / name).write_text(render(name))
    (HERE / "retrain-cronjob.yaml").write_text(cronjob())
    (HERE / "analysis-template.yaml").write_text(analysis_template())
    (HERE / "predict-job.yaml").write_text(predict_job())


if __name__ == "__main__":
    main()
