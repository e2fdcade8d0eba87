"""`catsdogs predict --out` writes the answers of the server."""

import json
from pathlib import Path

import httpx

from tests import zoo
from tests.e2e.support import PATH
from tests.serving.bulk import rows, run


def test_each_row_is_the_servers_answer(client: httpx.Client, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, data in {
        **zoo.accepted(),
        **{name: data for name, (data, _, _) in zoo.refused().items() if data},
        **{path.name: path.read_bytes() for path in zoo.SAMPLES.rglob("*.jpg")},
    }.items():
        (photos / f"{name}.jpg").write_bytes(data)
    run(photos, "--out", tmp_path / "out", "--workers=1")
    found = rows(tmp_path / "out")
    assert len(found) > 30
    for path, row in found.items():
        answer = client.post(PATH, content=Path(path).read_bytes()).json()
        if "code" in row:
            assert row == {"error": answer["detail"], "code": answer["code"]}, path
        else:
            assert json.dumps(row) == json.dumps({key: answer[key] for key in row}), path
