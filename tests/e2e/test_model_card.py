"""An archive's model card, where the gateway finds it."""

import zipfile
from pathlib import Path

import httpx
import pytest

from serving.server.archive import read_archive
from tests.archives import read_members, write_archive
from tests.e2e.support import start

CARD = "MODEL_CARD.md"


@pytest.fixture
def without(archive: Path, tmp_path: Path) -> Path:
    """An archive without a model card, as earlier ones are."""
    members = {name: data for name, data in read_members(archive).items() if name != CARD}
    return write_archive(tmp_path / "without.mar", members)


def test_an_archive_has_the_card_of_its_release(archive: Path) -> None:
    read = read_archive(archive)
    with zipfile.ZipFile(archive) as packed:
        assert read.card == packed.read(CARD)
    assert read.facts()["card"] is True


def test_an_archive_without_a_card_is_served_without_one(without: Path) -> None:
    assert read_archive(without).facts()["card"] is False
    with start(without, workers=1) as server, httpx.Client(base_url=server.options.url, trust_env=False) as client:
        response = client.get("/model-card")
        assert (response.status_code, response.json()["code"]) == (404, "not_found")
        assert client.get("/openapi.json").json()["info"]["x-model"]["card"] is False
