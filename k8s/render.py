"""Plain manifests for those who do without Helm.

serve-gpu.yaml, serve-cpu.yaml and loadtest.yaml are rendered from the chart; retrain-cronjob.yaml is made from
training-job.yaml, and analysis-template.yaml from the chart's watch of a canary.

python k8s/render.py      (part of `make chart`; $HELM names helm where it is not on the PATH)
"""

import os
import re
import subprocess
from pathlib import Path

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


def main() -> None:
    for name in RENDERED:
        (HERE / name).write_text(render(name))
    (HERE / "retrain-cronjob.yaml").write_text(cronjob())
    (HERE / "analysis-template.yaml").write_text(analysis_template())


if __name__ == "__main__":
    main()
