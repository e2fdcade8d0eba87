"""Tests of the NetworkPolicy: the pods connect to nobody that is not named, and nobody else to them."""

import pytest
import yaml

from tests.helm.support import EVERYTHING, Object, render, selects
from tests.helm.test_notes import notes
from tests.zoo import ROOT


def policy(**values: object) -> Object:
    spec: Object = render({"networkPolicy": {"enabled": True, **values}}).manifest("NetworkPolicy")["spec"]
    return spec


def admitted(spec: Object, port: int) -> list[Object]:
    """The peers that may connect to a port."""
    return [peer for rule in spec["ingress"] if {"port": port} in rule["ports"] for peer in rule["from"]]


def is_test(peer: Object) -> bool:
    return "test" in str(peer.get("podSelector"))


def test_by_default_there_is_none() -> None:
    assert not render().kind("NetworkPolicy")


def test_it_is_about_the_servers_and_both_directions() -> None:
    shaped = render({"networkPolicy": {"enabled": True}})
    spec = shaped.manifest("NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert selects(spec["podSelector"]["matchLabels"], shaped.template["metadata"]["labels"])
    assert not selects(spec["podSelector"]["matchLabels"], shaped.check["metadata"]["labels"])


def test_no_rule_is_open_to_all_ports_or_all_peers() -> None:
    spec = render(EVERYTHING).manifest("NetworkPolicy")["spec"]
    for rule in spec["ingress"]:
        assert rule["ports"]
        assert all(rule["from"])
    assert {port["port"] for rule in spec["ingress"] for port in rule["ports"]} == {8080, 7070, 8082}


def test_every_pod_of_the_cluster_may_ask_unless_peers_are_chosen() -> None:
    peers = [{"podSelector": {"matchLabels": {"app": "shop"}}}, {"ipBlock": {"cidr": "203.0.113.0/24"}}]
    for port in (8080, 7070):
        assert {"namespaceSelector": {}} in admitted(policy(), port)
        assert [peer for peer in admitted(policy(**{"from": peers}), port) if not is_test(peer)] == peers


def test_metrics_are_for_the_monitoring_alone() -> None:
    assert [peer for peer in admitted(policy(), 8082) if not is_test(peer)] == []
    (peer,) = [peer for peer in admitted(policy(monitoringNamespace="monitoring"), 8082) if not is_test(peer)]
    assert peer == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}


def test_helm_test_of_this_release_may_ask_everything_in_any_case() -> None:
    shaped = render({"networkPolicy": {"enabled": True, "from": [{"ipBlock": {"cidr": "203.0.113.0/24"}}]}})
    for port in (8080, 7070, 8082):
        (peer,) = [peer for peer in admitted(shaped.manifest("NetworkPolicy")["spec"], port) if is_test(peer)]
        assert peer.keys() == {"podSelector"}
        assert selects(peer["podSelector"]["matchLabels"], shaped.check["metadata"]["labels"])
        assert not selects(peer["podSelector"]["matchLabels"], render(release="other").check["metadata"]["labels"])


def test_the_pods_may_reach_dns_and_what_is_named() -> None:
    dns = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
    more = {"to": [{"ipBlock": {"cidr": "198.51.100.7/32"}}], "ports": [{"port": 443}]}
    assert policy()["egress"] == [dns]
    assert policy(egress=[more])["egress"] == [dns, more]


def test_the_notes_say_who_may_and_who_is_shut_out() -> None:
    closed = notes({"networkPolicy": {"enabled": True}})
    assert "every pod of the cluster, but nothing outside it, may send requests" in closed
    assert "and nothing may read the metrics" in closed
    chosen = {"enabled": True, "from": [{"podSelector": {}}], "monitoringNamespace": "monitoring"}
    assert "only networkPolicy.from may send requests, and the namespace monitoring may read the metrics" in notes(
        {"networkPolicy": chosen}
    )
    outside = {"networkPolicy": {"enabled": True}, "service": {"type": "LoadBalancer"}}
    assert "what the LoadBalancer brings from outside is shut out" in notes(outside)
    assert "is shut out" not in notes({"networkPolicy": chosen, "service": {"type": "LoadBalancer"}})


# Training


def trained(name: str) -> tuple[Object, dict[str, str]]:
    """The policy in a file of k8s/, and the labels of the pods that the file makes."""
    objects = list(yaml.safe_load_all((ROOT / "k8s" / name).read_text()))
    (spec,) = [manifest["spec"] for manifest in objects if manifest["kind"] == "NetworkPolicy"]
    labels: list[dict[str, str]] = []

    def collect(node: object) -> None:
        if isinstance(node, dict):
            template = node.get("template")
            if isinstance(template, dict) and "containers" in template.get("spec", {}):
                labels.append(template["metadata"]["labels"])
            for child in node.values():
                collect(child)
        elif isinstance(node, list):
            for child in node:
                collect(child)

    collect([manifest for manifest in objects if manifest["kind"] != "NetworkPolicy"])
    (pod_labels,) = labels
    return spec, pod_labels


ALONE = ("training-job.yaml", "retrain-cronjob.yaml")
TOGETHER = ("training-nodes.yaml", "trainjob.yaml")


@pytest.mark.parametrize("name", [*ALONE, *TOGETHER])
def test_training_has_a_policy_that_lets_it_ask_dns_and_the_web_alone(name: str) -> None:
    spec, labels = trained(name)
    assert selects(spec["podSelector"]["matchLabels"], labels)
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert {port["port"] for rule in spec["egress"] for port in rule.get("ports", [])} == {53, 443}
    blocks = [peer["ipBlock"] for rule in spec["egress"] for peer in rule.get("to", []) if "ipBlock" in peer]
    assert "169.254.0.0/16" in blocks[0]["except"], "where clouds hand out credentials"
    servers = render().template["metadata"]["labels"]
    assert not selects(spec["podSelector"]["matchLabels"], servers)


@pytest.mark.parametrize("name", ALONE)
def test_nobody_may_connect_to_training(name: str) -> None:
    spec, _ = trained(name)
    assert "ingress" not in spec
    assert all("ports" in rule for rule in spec["egress"])


@pytest.mark.parametrize("name", TOGETHER)
def test_the_pods_of_one_training_may_connect_to_each_other_and_nobody_else_to_them(name: str) -> None:
    spec, labels = trained(name)
    (rule,) = spec["ingress"]
    (peer,) = rule["from"]
    assert peer.keys() == {"podSelector"}
    assert selects(peer["podSelector"]["matchLabels"], labels)
    assert {"to": [peer]} in spec["egress"]


def test_the_pods_are_the_same_with_a_policy_and_without() -> None:
    assert render({"networkPolicy": {"enabled": True}}).template == render().template
