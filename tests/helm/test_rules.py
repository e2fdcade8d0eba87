"""Values that do not go together are refused, and the message says what to do."""

import pytest

from tests.helm.support import CHART, CPU, HTTP, OCI, PUBLIC, PVC, ROUTES, S3, SHA, Object, refusal, render, with_model

# Values that break a rule: words of its sentence, and the values mended.
RULES: dict[str, tuple[Object, str, Object]] = {
    "a name that no Service can have": (
        {"fullnameOverride": "My_Cats"},
        "fullnameOverride is My_Cats, so the Service would be called My_Cats, which Kubernetes refuses: a name has "
        "lower-case letters, digits and -, and begins with a letter. Set fullnameOverride, such as my-cats.",
        {"fullnameOverride": "my-cats"},
    ),
    "a number as tag": (
        {"image": {"tag": 1.3}},
        "image.tag is the number 1.3, and may have lost digits: write it in quotes, or give it by --set-string.",
        {"image": {"tag": "1.30"}},
    ),
    "one user for both": (
        {"gateway": {"runAsUser": 10001}},
        "gateway.runAsUser is 10001, and so is podSecurityContext.runAsUser, which TorchServe has",
        {"gateway": {"runAsUser": 10003}},
    ),
    "networks without a load balancer": (
        {"service": {"loadBalancerSourceRanges": ["203.0.113.0/24"]}},
        "service.loadBalancerSourceRanges are set, but service.type is ClusterIP: set it to LoadBalancer",
        {"service": {"loadBalancerSourceRanges": ["203.0.113.0/24"], "type": "LoadBalancer"}},
    ),
    "a policy for what does not come from outside": (
        {"service": {"externalTrafficPolicy": "Local"}},
        "service.externalTrafficPolicy is set, but service.type is ClusterIP: set it to NodePort or LoadBalancer",
        {"service": {"externalTrafficPolicy": "Local", "type": "NodePort"}},
    ),
    "two families in a single stack": (
        {"service": {"ipFamilies": ["IPv6", "IPv4"], "ipFamilyPolicy": "SingleStack"}},
        "service.ipFamilies names two families: set service.ipFamilyPolicy to PreferDualStack or RequireDualStack",
        {"service": {"ipFamilies": ["IPv6", "IPv4"], "ipFamilyPolicy": "PreferDualStack"}},
    ),
    "no sha256": (
        {"model": {"source": "pvc", "pvc": {"claimName": "store"}}},
        "model.sha256 is empty: an archive that is not in the image is served only if its sha256 is known.",
        {"model": {"source": "pvc", "pvc": {"claimName": "store"}, "sha256": SHA}},
    ),
    "two places of the public key": (
        with_model(HTTP, signature={"publicKey": PUBLIC, "existingConfigMap": "keys"}),
        "model.signature.publicKey and model.signature.existingConfigMap are both set: choose one.",
        with_model(HTTP, signature={"publicKey": PUBLIC}),
    ),
    "an address that has none for the signature": (
        with_model(HTTP, http={"url": "https://models.example/a.mar?sig=1"}, signature={"existingConfigMap": "keys"}),
        "model.http.url has a query, and the signature is fetched from the same address with .sig behind it",
        with_model(HTTP, signature={"existingConfigMap": "keys"}),
    ),
    "no claim": (
        {"model": {"source": "pvc", "sha256": SHA}},
        "set model.pvc.claimName to the PersistentVolumeClaim that holds the archive.",
        PVC,
    ),
    "a claim that is not used": (
        {"model": {"pvc": {"claimName": "store"}}},
        "model.pvc.claimName is set, but model.source is image: set model.source to pvc",
        PVC,
    ),
    "an image volume before Kubernetes can": (
        OCI,
        "model.source is oci, which needs image volumes: Kubernetes can since 1.33 (by default since 1.35), and this "
        "is v1.29.0. Set model.source to http, s3 or pvc.",
        HTTP,
    ),
    "two caches": (
        with_model(HTTP, cache={"hostPath": "/var/cache/catsdogs", "claimName": "cache"}),
        "model.cache.hostPath and model.cache.claimName are both set: choose one.",
        with_model(HTTP, cache={"claimName": "cache"}),
    ),
    "a cache of nothing": (
        with_model(PVC, cache={"hostPath": "/var/cache/catsdogs"}),
        "model.cache is for what is fetched, but model.source is pvc: set model.source to http or s3",
        with_model(S3, cache={"hostPath": "/var/cache/catsdogs"}),
    ),
    "short grace": (
        {"terminationGracePeriodSeconds": 44},
        "terminationGracePeriodSeconds is 44: gateway.drainSeconds + gateway.graceSeconds + 15 for TorchServe need at "
        "least 45",
        {"terminationGracePeriodSeconds": 45},
    ),
    "short deadline": (
        {"progressDeadlineSeconds": 230},
        "progressDeadlineSeconds is 230: stopping a pod, startupSeconds and minReadySeconds alone may take 230",
        {"progressDeadlineSeconds": 231},
    ),
    "a rollout that cannot move": (
        {"strategy": {"rollingUpdate": {"maxSurge": "0%", "maxUnavailable": 0}}},
        "no pod could ever be replaced. Set one of them to 1.",
        {"strategy": {"rollingUpdate": {"maxSurge": "0%", "maxUnavailable": 1}}},
    ),
    "more pods than the most": (
        {"autoscaling": {"minReplicas": 7}},
        "autoscaling.minReplicas is 7 and autoscaling.maxReplicas 6: raise the latter, or lower the former.",
        {"autoscaling": {"minReplicas": 7, "maxReplicas": 7}},
    ),
    "a gpu's load by cpu": (
        {"autoscaling": {"type": "hpa"}},
        "autoscaling.metric is cpu, which says little of a GPU's load: set it to requests",
        {"autoscaling": {"type": "hpa", "metric": "requests"}},
    ),
    "a share of nothing": (
        {
            "gpu": {"enabled": False},
            "autoscaling": {"type": "hpa"},
            "torchserve": {"resources": {"requests": {"cpu": None}}},
        },
        "a share of what is requested, but torchserve.resources.requests has no cpu: set it.",
        {"gpu": {"enabled": False}, "autoscaling": {"type": "hpa"}},
    ),
    "nobody for keda to ask": (
        {"autoscaling": {"type": "keda", "metric": "requests"}},
        "set autoscaling.prometheus.serverAddress to the Prometheus that KEDA shall ask.",
        {
            "autoscaling": {
                "type": "keda",
                "metric": "requests",
                "prometheus": {"serverAddress": "http://prometheus:9090"},
            }
        },
    ),
    "a label of ours": (
        {"podLabels": {"app.kubernetes.io/instance": "mine"}},
        "podLabels sets app.kubernetes.io/instance, by which the Deployment and the Services find their pods",
        {"podLabels": {"app.kubernetes.io/part-of": "mine"}},
    ),
    "gpus twice": (
        {"torchserve": {"resources": {"limits": {"nvidia.com/gpu": 1}}}},
        "torchserve.resources names nvidia.com/gpu: leave it out, and set gpu.enabled, gpu.resourceName and gpu.count.",
        {"torchserve": {"resources": {"limits": {"cpu": "8"}}}},
    ),
    "torch without torch": (
        {"gpu": {"enabled": False}, "runtime": "torch"},
        "runtime is torch, which the `-cpu` image does not hold",
        {"gpu": {"enabled": False}, "runtime": "torch", "image": {"tag": "0.2.0-gpu"}},
    ),
    "node ports without nodes": (
        {"service": {"nodePorts": {"grpc": 30070}}},
        "service.nodePorts are set, but service.type is ClusterIP",
        {"service": {"nodePorts": {"grpc": 30070}, "type": "NodePort"}},
    ),
    "one port twice": (
        {"service": {"ports": {"http": 7070}}},
        "service.ports.http and service.ports.grpc are both 7070: choose two.",
        {"service": {"ports": {"http": 80}}},
    ),
    "an ingress without a host": (
        {"ingress": {"enabled": True}},
        "ingress.enabled is true, but ingress.hosts is empty: name the hosts that it answers to.",
        {"ingress": {"enabled": True, "hosts": ["cats.example.org"]}},
    ),
    "a certificate of no host": (
        {"ingress": {"enabled": True, "hosts": ["cats.example.org"], "tls": [{"hosts": ["dogs.example.org"]}]}},
        "ingress.tls has a certificate for dogs.example.org, which is not in ingress.hosts: add it there",
        {"ingress": {"enabled": True, "hosts": ["dogs.example.org"], "tls": [{"hosts": ["dogs.example.org"]}]}},
    ),
    "a route without a gateway": (
        {"grpcRoute": {"enabled": True}},
        "grpcRoute.parentRefs is empty: name the Gateway that carries it, as [{name: public, namespace: gateways}].",
        {"grpcRoute": {"enabled": True, "parentRefs": [{"name": "public", "namespace": "gateways"}]}},
    ),
    "two routes of one name": (
        {
            "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["cats.example.org"]},
            "grpcRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["cats.example.org"]},
        },
        "a Gateway takes only one of them. Give each its hostnames, or another sectionName.",
        {
            "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["cats.example.org"]},
            "grpcRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["grpc.example.org"]},
        },
    ),
    "a policy that is not made": (
        {"networkPolicy": {"monitoringNamespace": "monitoring"}},
        "networkPolicy.enabled is false, so everybody may: set it to true",
        {"networkPolicy": {"monitoringNamespace": "monitoring", "enabled": True}},
    ),
    "metrics that nobody may read": (
        {"networkPolicy": {"enabled": True}, "metrics": {"podMonitor": {"enabled": True}}},
        "networkPolicy.monitoringNamespace is empty, so nobody may: set it to Prometheus' namespace.",
        {
            "networkPolicy": {"enabled": True, "monitoringNamespace": "monitoring"},
            "metrics": {"podMonitor": {"enabled": True}},
        },
    ),
    "metrics read twice": (
        {"metrics": {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}},
        "metrics.podMonitor and metrics.serviceMonitor are both enabled: every pod would be read twice. Enable one.",
        {"metrics": {"podMonitor": {"enabled": True}}},
    ),
    "nobody to validate": (
        {"validation": {"enabled": True}, "replicas": 0},
        "validation.enabled is true, but replicas is 0, so there is no pod to ask: set replicas to 1 or more",
        {"validation": {"enabled": True}, "replicas": 1},
    ),
    "a selector that nobody is asked for": (
        {"canary": {"enabled": True, "image": {"tag": "next"}, "watch": {"enabled": True, "selector": 'job="x"'}}},
        "canary.watch.selector selects series, but canary.watch.prometheusUrl is empty",
        {"canary": {"enabled": True, "image": {"tag": "next"}, "watch": {"enabled": True}}},
    ),
    "a watch without a round": (
        {"canary": {"enabled": True, "image": {"tag": "next"}, "watch": {"enabled": True, "seconds": 10}}},
        "canary.watch.intervalSeconds is longer than canary.watch.seconds",
        {"canary": {"enabled": True, "image": {"tag": "next"}, "watch": {"enabled": True, "seconds": 30}}},
    ),
    "nobody to load": (
        {"loadtest": {"enabled": True}, "replicas": 0},
        "loadtest.enabled is true, but replicas is 0, so there is no pod to ask: set replicas to 1 or more",
        {"loadtest": {"enabled": True}, "replicas": 1},
    ),
    "a load test by the server's image": (
        {"loadtest": {"enabled": True, "image": {"tag": "0.2.0-gpu"}}},
        "loadtest.image is catsdogs-serve:0.2.0-gpu, an image that serves and has nothing to make load with: name the "
        "one made by `--target load` of Dockerfile.serve, or leave it empty.",
        {"loadtest": {"enabled": True, "image": {"tag": "0.3.0-load"}}},
    ),
    "processes in each of several pods": (
        {"loadtest": {"enabled": True, "pods": 3, "processes": 2}},
        "loadtest.pods is 3 and loadtest.processes 2: each of several pods is one process.",
        {"loadtest": {"enabled": True, "pods": 5, "processes": 1}},
    ),
    "a gate that the objectives have not": (
        {"loadtest": {"enabled": True, "slo": {"gates": {"nightly": {}, "brief": {}}}}},
        "loadtest.gate is quick, which loadtest.slo has not: add it to loadtest.slo.gates, or name one that is there, "
        "of brief, nightly.",
        {"loadtest": {"enabled": True, "gate": "brief", "slo": {"gates": {"nightly": {}, "brief": {}}}}},
    ),
    "pictures from two places": (
        {
            "loadtest": {
                "enabled": True,
                "pictures": {
                    "claimName": "labelled",
                    "configMapName": "few",
                    "items": [{"key": "tom.jpg", "path": "cat/tom.jpg"}],
                },
            }
        },
        "loadtest.pictures.claimName and loadtest.pictures.configMapName are both set: choose one.",
        {"loadtest": {"enabled": True, "pictures": {"claimName": "labelled"}}},
    ),
    "pictures of no class": (
        {"loadtest": {"enabled": True, "pictures": {"configMapName": "few"}}},
        "loadtest.pictures.configMapName and loadtest.pictures.items go together: set both",
        {
            "loadtest": {
                "enabled": True,
                "pictures": {"configMapName": "few", "items": [{"key": "tom.jpg", "path": "cat/tom.jpg"}]},
            }
        },
    ),
    "a folder of no claim": (
        {"loadtest": {"enabled": True, "pictures": {"path": "2026-06"}}},
        "loadtest.pictures.path is set, but loadtest.pictures.claimName is empty: name the claim",
        {"loadtest": {"enabled": True, "pictures": {"path": "2026-06", "claimName": "labelled"}}},
    ),
    "a deadline within the waiting": (
        {"loadtest": {"enabled": True, "activeDeadlineSeconds": 830}},
        "loadtest.activeDeadlineSeconds is 830: waiting for a pod that is ready may take 830 alone. Set it higher",
        {"loadtest": {"enabled": True, "activeDeadlineSeconds": 830, "waitSeconds": 60}},
    ),
    "a load test that believes everybody": (
        {"loadtest": {"enabled": True}, "gateway": {"tls": {"existingSecret": "our-tls", "verify": "none"}}},
        "gateway.tls.verify is none, and a load test believes nobody without asking: set gateway.tls.verify to ca or",
        {"loadtest": {"enabled": True}, "gateway": {"tls": {"existingSecret": "our-tls", "verify": "system"}}},
    ),
    "a canary like stable": (
        {"canary": {"enabled": True, "image": {"tag": "0.2.0-gpu"}}},
        "nothing differs from stable: name another image by canary.image, or another archive by canary.model",
        {"canary": {"enabled": True, "image": {"tag": "next"}}},
    ),
    "a canary of another source": (
        {"canary": {"enabled": True, "image": {"tag": "next"}, "model": {"s3": {"key": "next.mar"}}}},
        "canary.model.s3.key is set, but model.source is image, and the canary's model comes from where that of stable",
        {**S3, "canary": {"enabled": True, "model": {"sha256": "0" * 64, "s3": {"key": "next.mar"}}}},
    ),
    "a canary's archive without a sha256": (
        {**S3, "canary": {"enabled": True, "model": {"s3": {"key": "next.mar"}}}},
        "canary.model.sha256 is empty, or that of stable: set it to what that archive has.",
        {**S3, "canary": {"enabled": True, "model": {"sha256": "0" * 64, "s3": {"key": "next.mar"}}}},
    ),
    "two archives at one address": (
        {**PVC, "canary": {"enabled": True, "model": {"sha256": "0" * 64}}},
        "both archives would lie at one address: set canary.model.pvc.path, too.",
        {**PVC, "canary": {"enabled": True, "model": {"sha256": "0" * 64, "pvc": {"path": "next.mar"}}}},
    ),
    "two archives in one image": (
        {"canary": {"enabled": True, "model": {"sha256": SHA}}},
        "the canary's image is that of stable, in which there is one archive: name the canary's by canary.image.",
        {"canary": {"enabled": True, "model": {"sha256": SHA}, "image": {"tag": "next"}}},
    ),
    "another image held to stable's sha256": (
        {"model": {"sha256": SHA}, "canary": {"enabled": True, "image": {"tag": "next"}}},
        "set canary.model.sha256 to what the archive in it has, be it the same.",
        {"model": {"sha256": SHA}, "canary": {"enabled": True, "image": {"tag": "next"}, "model": {"sha256": SHA}}},
    ),
    "a weight that nothing goes by": (
        {"canary": {"enabled": True, "weight": 0, "image": {"tag": "next"}}},
        "canary.weight is 0, but httpRoute and grpcRoute are off, and nothing else goes by it",
        {**ROUTES, "canary": {"enabled": True, "weight": 0, "image": {"tag": "next"}}},
    ),
    "a claim for records that are off": (
        {"records": {"claimName": "given"}},
        "records.claimName is set, but records.enabled is false, so nothing is recorded: set it to true, or leave this "
        "out.",
        {"records": {"enabled": True, "claimName": "given"}},
    ),
    "feedback without a claim": (
        {"feedback": {"enabled": True, "store": "pvc"}},
        "set feedback.pvc.claimName to the PersistentVolumeClaim that feedback is stored on.",
        {"feedback": {"enabled": True, "store": "pvc", "pvc": {"claimName": "given"}}},
    ),
    "feedback without a bucket": (
        {"feedback": {"enabled": True, "store": "s3"}},
        "set feedback.s3.bucket to the bucket that feedback is stored in.",
        {"feedback": {"enabled": True, "store": "s3", "s3": {"bucket": "pets"}}},
    ),
    "a place for feedback that is not used": (
        {"feedback": {"enabled": True, "pvc": {"claimName": "given"}}},
        "feedback.pvc.claimName is set, but feedback.store is emptyDir: set feedback.store to pvc, or leave this out.",
        {"feedback": {"enabled": True, "store": "pvc", "pvc": {"claimName": "given"}}},
    ),
    "annotations of nothing": (
        {"serviceAccount": {"annotations": {"role": "reader"}}},
        "serviceAccount.create is false, so there is nothing to put them on: set it to true.",
        {"serviceAccount": {"annotations": {"role": "reader"}, "create": True}},
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_refuses_in_a_sentence(rule: str) -> None:
    values, sentence, _ = RULES[rule]
    assert sentence in refusal(values)


@pytest.mark.parametrize("rule", RULES)
def test_what_the_sentence_advises_is_accepted(rule: str) -> None:
    assert render(RULES[rule][2]).kind("Deployment")


def test_every_rule_of_the_chart_is_shown_here() -> None:
    assert (CHART / "templates" / "_validate.tpl").read_text().count("append $wrong") == len(RULES)


@pytest.mark.parametrize("values", ["commonLabels", "podLabels"])
@pytest.mark.parametrize("label", ["app.kubernetes.io/name", "app.kubernetes.io/component", "track", "pod-revision"])
def test_no_label_that_selects_can_be_set(values: str, label: str) -> None:
    assert f"{values} sets {label}" in refusal({values: {label: "mine"}})


def test_all_that_is_wrong_is_told_at_once() -> None:
    message = refusal({"terminationGracePeriodSeconds": 1, "service": {"nodePorts": {"http": 30080}}}, CPU)
    assert "terminationGracePeriodSeconds is 1" in message
    assert "service.nodePorts are set" in message


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("http", "model.source is http: set model.http.url to the archive's address."),
        ("s3", "model.source is s3: set model.s3.bucket to the bucket that holds the archive."),
        ("s3", "model.source is s3: set model.s3.key to the archive's key in the bucket."),
        ("oci", "model.source is oci: set model.oci.reference to the image that holds the archive."),
    ],
)
def test_a_source_without_its_place_is_refused(source: str, sentence: str) -> None:
    assert sentence in refusal({"model": {"source": source, "sha256": SHA}})


@pytest.mark.parametrize("source", ["http", "s3", "oci"])
def test_what_is_not_in_the_image_needs_its_sha256(source: str) -> None:
    assert "model.sha256 is empty" in refusal({"model": {"source": source}})


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [
        ("http", "url", "https://models.example/a.mar"),
        ("http", "existingSecret", "header"),
        ("s3", "bucket", "models"),
        ("s3", "key", "a.mar"),
        ("s3", "endpoint", "http://minio:9000"),
        ("s3", "region", "eu-west-1"),
        ("s3", "existingSecret", "keys"),
        ("oci", "reference", "registry.example/models:1"),
    ],
)
def test_what_another_source_would_use_is_refused(group: str, name: str, value: str) -> None:
    message = refusal(with_model(PVC, **{group: {name: value}}))
    assert (
        f"model.{group}.{name} is set, but model.source is pvc: set model.source to {group}, or leave this out."
        in message
    )


def test_a_deadline_must_leave_time_to_fetch() -> None:
    message = refusal({**HTTP, "progressDeadlineSeconds": 700})
    assert "stopping a pod, model.fetchSeconds, startupSeconds and minReadySeconds alone may take 830" in message


def test_kubernetes_before_native_sidecars_is_refused() -> None:
    assert "requires kubeVersion: >=1.29.0-0" in refusal({}, kubernetes="1.28.9")
