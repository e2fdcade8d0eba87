"""Archives that the drill serves: the released one, with a handler that can be told to be slow or to fail."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from handler.features import bins_of, measure, upright_size
from handler.members import HANDLER, MANIFEST, RELEASE, manifest_text
from handler.preprocess import InputSpec, decode
from tests.archives import read_members, write_archive
from tests.monitoring.drill.clients import TYPICAL

SLOW, BROKEN, WELL = "slow", "broken", ""
DECODE_S = 1.5
# Requests of users alone: a question about liveness has no such header.
SWITCHED = """\
        if STARTED in headers:
            state = Path({switch!r}).read_text()
            if state == {slow!r}:
                time.sleep({seconds})
            elif state == {broken!r}:
                raise RuntimeError("the drill's fault")
"""
READS = "        request = read_request(row, headers, self.predictor.release)\n"
# As many as would make the sixteen pictures that the clients send a significant sample.
REFERENCE_PICTURES = 2000
Values = dict[str, Any]


def switched(code: bytes, switch: Path) -> bytes:
    """Return the handler's code with a look at a file before a request is decoded."""
    text = code.decode()
    assert text.count(READS) == 1
    look = SWITCHED.format(switch=str(switch), slow=SLOW, broken=BROKEN, seconds=DECODE_S)
    return text.replace(READS, look + READS).encode()


def changed(member: bytes, change: Callable[[Values], None]) -> bytes:
    values: Values = json.loads(member)
    change(values)
    return json.dumps(values).encode()


def reference_of(release: Values) -> Values:
    """Return the reference for drift as the pictures that the clients send would make it.

    The uncertainty is left out: it is another one for each runtime.
    """
    spec = InputSpec(**release["input"])
    rows = [measure(decode(body, spec), *upright_size(body)) for body in TYPICAL]
    features = {}
    for name in release["reference"]["features"].keys() & rows[0].keys():
        values = sorted(row[name] for row in rows)
        edges = [(low + high) / 2 for low, high in zip(values[1::2], values[2::2], strict=False) if low < high]
        counts = [0] * (len(edges) + 1)
        for value in values:
            counts[bins_of({name: value}, {name: tuple(edges)})[name]] += 1
        features[name] = {"edges": edges, "shares": [count / len(rows) for count in counts]}
    return {"pictures": REFERENCE_PICTURES, "features": features, "classes": {"cat": 0.5, "dog": 0.5}}


def for_drill(archive: Path, out: Path, switch: Path) -> Path:
    """Write the archive that all faults but one are injected into."""
    members = read_members(archive)
    members[HANDLER] = switched(members[HANDLER], switch)
    members[RELEASE] = changed(members[RELEASE], lambda release: release.update(reference=reference_of(release)))
    return write_archive(out, members)


def another_version(archive: Path, out: Path, version: str) -> Path:
    """Write the same archive under another version."""
    members = read_members(archive)
    members[RELEASE] = changed(members[RELEASE], lambda release: release.update(version=version))
    manifest = json.loads(members[MANIFEST])
    manifest["model"]["modelVersion"] = version
    members[MANIFEST] = manifest_text(manifest)
    return write_archive(out, members)
