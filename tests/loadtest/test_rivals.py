"""Tests of the comparison with other servers: its report, and its closed loop against a server that sleeps."""

import json
import math
import sys
import zipfile
from pathlib import Path

import pytest

from common.verdicts import Verdict
from loadtest.generate.clients import Address, Http
from loadtest.generate.pictures import Picture
from loadtest.report.words import TIMES, plain
from loadtest.rivals import __main__ as rivals
from loadtest.rivals.batch import holds_int8, served_batch
from loadtest.rivals.closed import Loop
from loadtest.rivals.closed import measure as measure_loop
from loadtest.rivals.peers import OneRequestPerConnection, Peer, Places, Row, Scores, contestants
from loadtest.rivals.report import Setting, write
from loadtest.rivals.rounds import CLIENTS, LIMIT, NO_CLIENTS, ROWS, Measured, objections, ratio, rows
from loadtest.rivals.servers import ROOT
from tests.loadtest.support_locust import stub

CATS = (Picture(b"x" * 1000, "cat"),)
DOGS = (Picture(b"x" * 1000, "dog"),)


def address(url: str) -> Address:
    return Address(url=url, grpc="", model="catsdogs")


def test_a_closed_loop_has_one_request_of_each_client_under_way() -> None:
    with stub("--sleep", "0.1") as url:
        loop = measure_loop(lambda: Http(address(url)), CATS, clients=8, seconds=2, warmup=0.5)
    # One client alone gets 10/s at most, and eight 80/s: more on a quiet machine than on a busy one.
    assert 10 < loop.rate <= 80 + 8 / 2
    assert loop.p50 >= 0.1
    assert loop.answers == loop.right == round(loop.rate * 2)
    assert not loop.failed


def test_clients_wait_for_each_other_at_a_server_that_does_one_thing_at_a_time_and_wrong_labels_are_counted() -> None:
    with stub("--service", "0.05") as url:
        loop = measure_loop(lambda: OneRequestPerConnection(address(url)), DOGS, clients=4, seconds=2, warmup=0.5)
    assert 0 < loop.rate <= 20 + 4 / 2
    assert loop.p50 >= 0.15
    assert loop.right == 0 < loop.answers


def test_refusals_are_failures_by_kind_and_no_throughput() -> None:
    with stub("--fail-every", "2") as url:
        loop = measure_loop(lambda: Http(address(url)), CATS, clients=2, seconds=1)
    assert set(loop.failed) == {"Wrong: 503 overloaded"}
    assert loop.answers > 0


def test_a_server_that_is_not_there() -> None:
    loop = measure_loop(lambda: Http(address("http://127.0.0.1:9")), CATS, clients=1, seconds=0.3)
    assert (loop.rate, loop.answers) == (0, 0)
    assert math.isnan(loop.p50)
    assert sum(loop.failed.values()) > 0


def test_the_share_by_class_of_stock_torchserve_is_read() -> None:
    answer = Scores(address("http://127.0.0.1:9")).read({"dog": 0.9, "cat": 0.1})
    assert (answer["label"], answer["probability"]) == ("dog", 0.9)


def measured(server: str, turn: int, rate: float, precision: str = "fp32") -> Measured:
    loops = tuple(Loop(clients, rate, 0.1, 0.2, 10, 10) for clients in CLIENTS)
    return Measured(server, precision, turn, loops, 3.0, 500.0)


def without_server(turn: int, rate: float, precision: str = "fp32") -> Measured:
    return Measured(LIMIT, precision, turn, (Loop(NO_CLIENTS, rate, math.nan, math.nan, 0, 0),), None, None)


STOCK = "stock TorchServe, as it comes"
PACKED = ROOT / "loadtest" / "rivals" / "stock"
SETTING = Setting("Xeon", ["AVX2", "AVX-512"], cores=2, stolen=0.034, python="3.12", git="4d34f992b5c5", batch=4)
# The third round is slower, for all of them.
STEADY = [
    *(measured("catsdogs", 0, 60), measured(STOCK, 0, 6), without_server(0, 80)),
    *(measured("catsdogs", 1, 62), measured(STOCK, 1, 6.1), without_server(1, 82)),
    *(measured("catsdogs", 2, 50), measured(STOCK, 2, 5), without_server(2, 70)),
]
UNSTEADY = [*STEADY[:6], measured("catsdogs", 2, 45), *STEADY[7:]]


@pytest.mark.parametrize("module", [path.stem for path in PACKED.glob("*.py") if path.stem != "__init__"])
def test_nothing_of_the_checkout_is_imported_in_place_of_a_file_in_the_stock_archive(module: str) -> None:
    """The checkout is on the servers' PYTHONPATH, before the folder of the unpacked archive."""
    assert not (ROOT / module).exists()
    assert not (ROOT / f"{module}.py").exists()


def test_ratios_are_medians_of_rounds_and_not_of_medians() -> None:
    ours, stock, limit = rows(STEADY)
    assert (ours, stock, limit) == (("catsdogs", "fp32"), (STOCK, "fp32"), (LIMIT, "fp32"))
    assert ratio(STEADY, ours, stock, 8) == pytest.approx(10)
    assert ratio(STEADY, ours, limit, 8) == ratio(STEADY, ours, limit, 32) == pytest.approx(60 / 80)


def test_rounds_that_differ_by_25_percent_agree_and_by_more_they_do_not() -> None:
    assert objections(STEADY) == []
    assert objections([measured("catsdogs", turn, rate) for turn, rate in enumerate((16 / 3, 17 / 3, 20 / 3))]) == []
    eight, thirty_two = objections(UNSTEADY)
    assert plain(eight) == (
        "catsdogs, fp32, 8 clients: the rounds differ by 37.8 %, from 45.0 to 62.0/s, and 25 % is the maximum."
    )
    assert thirty_two.startswith("catsdogs, fp32, 32 clients:")


def test_two_rounds_are_too_few() -> None:
    assert objections(STEADY[:6]) == ["Too few rounds: 2, where a median takes at least 3."]


def test_a_server_that_answers_nothing_has_no_ratio() -> None:
    silent = [measured(STOCK, turn, 0) for turn in range(3)]
    assert objections(silent)[0] == f"{STOCK}, fp32, 8 clients: nothing was answered in a round."


def test_the_report_begins_with_the_machine_and_the_ratios(tmp_path: Path) -> None:
    assert write(STEADY, tmp_path, SETTING) is Verdict.PASS
    machine, ratios, figures = (tmp_path / "rivals.md").read_text().split("\n\n")
    assert machine == (
        "Xeon (AVX2, AVX-512), 2 cores; the host gave 3.4 % of the processor time to other machines. Batches of 4. git"
        " 4d34f992b5c5."
    )
    cell = f"**{TIMES}10.00** (10.00 to 10.16)"
    assert f"| {STOCK} | fp32 | {cell} | {cell} |" in ratios
    assert f"| {LIMIT} | fp32 | **{TIMES}0.75** (0.71 to 0.76) |" in ratios
    assert "| 60.0/s (50.0 to 62.0) |" in figures
    assert {line.count("|") for line in figures.splitlines()} == {10}
    values = json.loads((tmp_path / "rivals.json").read_text())
    assert values["verdict"] == "PASS"
    same = {"ours": "fp32", "server": LIMIT, "precision": "fp32", "8 clients": 0.75, "32 clients": 0.75}
    assert values["ratios"][1] == {**same, "at least": {"8 clients": 0.61, "32 clients": 0.61}}
    assert values["unsteady"] == []
    assert [result["server"] for result in values["measured"]] == [result.server for result in STEADY]
    assert values["measured"][2]["loops"][0]["p50"] is None
    assert (tmp_path / "rivals.png").read_bytes().startswith(b"\x89PNG")


def test_rounds_that_do_not_agree_are_shown_without_ratios(tmp_path: Path) -> None:
    assert write(UNSTEADY, tmp_path, SETTING) is Verdict.INVALID
    text = (tmp_path / "rivals.md").read_text()
    assert "INVALID: these rounds allow no verdict." in text
    assert "| catsdogs | fp32 | 8 | 60.0 | 62.0 | 45.0 |" in text
    assert TIMES not in text
    assert json.loads((tmp_path / "rivals.json").read_text())["ratios"] == []


def test_a_rival_whose_rounds_do_not_agree_has_a_bound_and_no_ratio(tmp_path: Path) -> None:
    erratic = [*STEADY[:4], measured(STOCK, 1, 3), *STEADY[5:]]
    assert write(erratic, tmp_path, SETTING) is Verdict.PASS
    text = (tmp_path / "rivals.md").read_text()
    cell = f"at least {TIMES}8.33"  # 50 of our slowest round, 6 of its fastest
    assert f"| {STOCK} | fp32 | {cell} | {cell} |" in text
    assert f"- {STOCK}, fp32, 8 clients: the rounds differ by 100.0 %, from 3.0 to 6.0/s" in text
    assert f"| {LIMIT} | fp32 | **{TIMES}0.75**" in text
    values = json.loads((tmp_path / "rivals.json").read_text())
    assert values["ratios"][0]["8 clients"] is None
    assert values["ratios"][0]["at least"] == {"8 clients": 8.333, "32 clients": 8.333}
    assert len(values["unsteady"]) == 2


@pytest.mark.parametrize(("last", "status", "alone"), [(50, 0, False), (30, 12, False), (50, 0, True)])
def test_each_round_begins_with_another_server_and_the_exit_status_is_the_verdict(
    last: float, status: int, alone: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[tuple[int, Row]] = []

    def measure(peer: Peer, places: Places, pictures: object, turn: int, options: object) -> Measured:
        order.append((turn, peer.row))
        return measured(peer.name, turn, last if turn == 2 else 60, peer.precision)

    def limit(row: Row, places: Places, batch: int, turn: int, options: object) -> Measured:
        assert batch == 4
        order.append((turn, row))
        return without_server(turn, 80, row.precision)

    monkeypatch.setattr(rivals, "measure", measure)
    monkeypatch.setattr(rivals, "limit", limit)
    packed: list[str] = []
    monkeypatch.setattr(rivals, "pack_stock", lambda release, folder: packed.append(folder))
    monkeypatch.setattr(rivals, "is_installed", lambda package: True)
    monkeypatch.setattr(rivals, "unpack", lambda archive, folder: None)
    make_archive(tmp_path / "catsdogs.mar", "batchSize: 4\n", int8=True)
    arguments = ["--archive", str(tmp_path / "catsdogs.mar"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["rivals", *arguments, *(["--ours-alone"] if alone else [])])
    assert rivals.main() == status
    others = ("FastAPI", "stock TorchServe") if alone else ()
    everyone = [row for row in ROWS if not row.server.startswith(("LitServe", "BentoML", *others))]
    assert len(packed) == (0 if alone else 1)
    for turn in range(3):
        assert {row for round_, row in order if round_ == turn} == set(everyone)
    assert [order[turn * len(everyone)][1] for turn in range(3)] == everyone[:3]


def make_archive(path: Path, config: str, int8: bool = False) -> None:
    with zipfile.ZipFile(path, "w") as members:
        members.writestr("model-config.yaml", config)
        if int8:
            members.writestr("model.int8.onnx", b"")


def test_the_batch_size_is_the_archive_s(tmp_path: Path) -> None:
    make_archive(tmp_path / "pets.mar", "batchSize: 6  # pictures\nmaxBatchDelay: 2\n")
    assert served_batch(tmp_path / "pets.mar") == 6


def test_an_archive_without_a_batch_size_is_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_archive(tmp_path / "pets.mar", "maxBatchDelay: 2\n")
    monkeypatch.setattr(sys, "argv", ["rivals", "--archive", str(tmp_path / "pets.mar")])
    assert rivals.main() == 2
    assert "pets.mar does not state its batch size in model-config.yaml." in capsys.readouterr().err


INT8 = [
    row
    for turn in range(3)
    for row in (
        *(measured("catsdogs", turn, 60), measured("catsdogs", turn, 100, "int8")),
        *(measured("FastAPI, OpenVINO", turn, 50), measured("FastAPI, OpenVINO", turn, 80, "int8")),
    )
]


def test_ratios_are_of_each_precision_with_each_and_equal_ones_are_bold(tmp_path: Path) -> None:
    write(INT8, tmp_path, SETTING)
    _, ratios, _ = (tmp_path / "rivals.md").read_text().split("\n\n")
    heads, _, fp32, int8 = ratios.splitlines()
    assert heads.startswith("| relative to | precision | catsdogs fp32, 8 clients | catsdogs fp32, 32 clients |")
    equal, unequal = f"**{TIMES}1.20** (1.20 to 1.20)", f"{TIMES}2.00 (2.00 to 2.00)"
    assert fp32 == f"| FastAPI, OpenVINO | fp32 | {equal} | {equal} | {unequal} | {unequal} |"
    equal, unequal = f"**{TIMES}1.25** (1.25 to 1.25)", f"{TIMES}0.75 (0.75 to 0.75)"
    assert int8 == f"| FastAPI, OpenVINO | int8 | {unequal} | {unequal} | {equal} | {equal} |"


def test_an_archive_without_int8_has_no_int8_rows_and_the_report_says_so(tmp_path: Path) -> None:
    make_archive(tmp_path / "fp32.mar", "batchSize: 4\n")
    make_archive(tmp_path / "both.mar", "batchSize: 4\n", int8=True)
    assert (holds_int8(tmp_path / "fp32.mar"), holds_int8(tmp_path / "both.mar")) == (False, True)
    peers, skipped = contestants([], int8=False, openvino=True)
    assert {peer.precision for peer in peers} == {"fp32"}
    write(STEADY, tmp_path, SETTING, skipped)
    assert "No int8 rows: the archive holds no int8 network." in (tmp_path / "rivals.md").read_text()


def test_where_openvino_is_not_installed_the_other_servers_have_no_rows_of_it() -> None:
    peers, (sentence,) = contestants(["litserve"], int8=True, openvino=False)
    assert {peer.name for peer in peers if peer.precision == "int8"} == {"catsdogs"}
    assert "FastAPI, ONNX Runtime" in {peer.name for peer in peers}
    assert sentence.startswith("No rows of other servers with OpenVINO: it is not installed in ")


def test_litserve_and_bentoml_are_measured_on_request() -> None:
    default = {peer.name for peer in contestants([], int8=True, openvino=True)[0]}
    more = {peer.name for peer in contestants(["bentoml", "litserve"], int8=True, openvino=True)[0]}
    assert more - default == {"LitServe, OpenVINO", "BentoML, OpenVINO"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--with", "litserve", "--ours-alone"), "--ours-alone leaves all other servers out, and --with names some"),
        (("--with", "triton"), "--with knows litserve and bentoml, not triton."),
        (("--with", "litserve", "--asked-for", "/nowhere"), "/nowhere has no Python. Set it up: make"),
    ],
)
def test_servers_on_request_that_cannot_be_had_are_wrong_usage(
    arguments: tuple[str, ...],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["rivals", *arguments])
    assert rivals.main() == 2
    assert sentence in capsys.readouterr().err
