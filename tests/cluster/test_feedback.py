"""Feedback on a prediction, in a real release: its token is taken, and the record lies on the claim for all pods."""

import json
from collections.abc import Iterator

import pytest

from tests.cluster.support import IMAGE, Cluster
from tests.cluster.volumes import make_claim, run_in

pytestmark = pytest.mark.breadth
# Runs in a pod: it asks the Service anew each time, so that another pod may be told than the one that predicted.
GIVE = """
import json
import urllib.error
import urllib.request
from serving.client.samples import SAMPLES

def ask(path, data, kind):
    request = urllib.request.Request("http://catsdogs:8080" + path, data, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)

given = []
for path in sorted(SAMPLES.glob("*/*.jpg"))[:6]:
    _, answer = ask("/predictions/catsdogs", path.read_bytes(), "image/jpeg")
    token = answer["feedback"]
    changed = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
    body = {"token": token, "label": "other"}
    given.append({
        "label": answer["label"],
        "taken": ask("/feedback", json.dumps(body).encode(), "application/json"),
        "forged": ask("/feedback", json.dumps({**body, "token": changed}).encode(), "application/json"),
    })
print(json.dumps(given))
"""
STORED = """
import json
from pathlib import Path
print(json.dumps({path.name: json.loads(path.read_bytes()) for path in Path("/store").glob("*/*")}))
"""


@pytest.fixture(scope="module")
def claim(cluster: Cluster, namespace: str) -> Iterator[str]:
    with make_claim(cluster, namespace, "feedback", shared=True) as made:
        cluster.install(namespace, replicas=2, feedback={"enabled": True, "store": "pvc", "pvc": {"claimName": made}})
        yield made
        cluster.uninstall(namespace)


def test_feedback_is_taken_and_lies_on_the_claim(cluster: Cluster, namespace: str, claim: str) -> None:
    pod = cluster.ready(namespace)[0].metadata.name
    given = json.loads(cluster.shell(namespace, pod, "gateway", GIVE))
    assert [(each["taken"][0], each["forged"][0]) for each in given] == [(200, 403)] * 6
    stored = json.loads(run_in(cluster, namespace, claim, IMAGE, ["python", "-c", STORED]))
    assert set(stored) == {f"{each['taken'][1]['id']}.json" for each in given}
    for each in given:
        document = stored[f"{each['taken'][1]['id']}.json"]
        assert (document["label"], document["predicted"]) == ("other", each["label"])
