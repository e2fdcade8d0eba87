"""What one value alone cannot say of itself: each rule refuses, and its sentence says what to do."""

import pytest

from tests.helm.support import CHART, CPU, PVC, SHA, Object, refusal, render

# Values that break a rule: words of its sentence, and the values mended.
RULES: dict[str, tuple[Object, str, Object]] = {
    "no sha256": (
        {"model": {"source": "pvc", "pvc": {"claimName": "store"}}},
        "model.sha256 is empty: an archive that is not in the image is served only if its sha256 is known.",
        {"model": {"source": "pvc", "pvc": {"claimName": "store"}, "sha256": SHA}},
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
    assert render(RULES[rule][2]).deployment


def test_every_rule_of_the_chart_is_shown_here() -> None:
    assert (CHART / "templates" / "_validate.tpl").read_text().count("append $wrong") == len(RULES)


@pytest.mark.parametrize("values", ["commonLabels", "podLabels"])
@pytest.mark.parametrize("label", ["app.kubernetes.io/name", "app.kubernetes.io/component", "track"])
def test_no_label_that_selects_can_be_set(values: str, label: str) -> None:
    assert f"{values} sets {label}" in refusal({values: {label: "mine"}})


def test_all_that_is_wrong_is_told_at_once() -> None:
    said = refusal({"terminationGracePeriodSeconds": 1, "service": {"nodePorts": {"http": 30080}}}, CPU)
    assert "terminationGracePeriodSeconds is 1" in said
    assert "service.nodePorts are set" in said


def test_kubernetes_before_native_sidecars_is_refused() -> None:
    assert "requires kubeVersion: >=1.29.0-0" in refusal({}, kubernetes="1.28.9")
