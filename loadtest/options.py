"""Options that the load test adds to Locust's. `catsdogs loadtest --help` describes the same options."""

from typing import Any

from loadtest.defaults import PROTOCOLS, SLO
from loadtest.generate.shapes import SHAPES

TITLE, DESCRIPTION = "catsdogs", "Options of the arrivals, the pictures and the verdict on the objectives of slo.yaml"


def option(name: str, **settings: Any) -> tuple[str, dict[str, Any]]:
    """Return an option's name and its settings, those of argparse's add_argument."""
    return name, settings


OPTIONS = (
    option(
        "--slo",
        metavar="FILE",
        default=str(SLO),
        help="File of objectives, gates and the search. Default: the shipped one",
    ),
    option(
        "--slo-profile", metavar="NAME", help="Profile of slo.yaml, such as shared. Default: the file's main objectives"
    ),
    option(
        "--p99",
        metavar="DURATION",
        help="Replace the objectives of slo.yaml: 99 %% of the requests answered within this time, such as 100ms",
    ),
    option("--gate", help="Gate of slo.yaml, which sets shape, protocols, rate, durations and confidence"),
    option("--shape", choices=SHAPES, help="Course of the rate over the test, in place of --users"),
    option(
        "--protocol",
        action="append",
        choices=PROTOCOLS,
        help="Protocol that is tested, repeatable; each gets an equal share of the rate. Default: rest, or all "
        "protocols of the gate",
    ),
    option("--rate", type=float, help="Highest rate of the shape, in requests per second"),
    option("--duration", help="Duration of the shape, after the warm-up: 90s, 3m or 1h"),
    option("--warmup", help="Duration of the warm-up, whose requests are not counted"),
    option("--confidence", type=float, default=0.95, help="Confidence of the verdict, from 0 to 1"),
    option(
        "--loop",
        choices=("open", "closed"),
        default="open",
        help="open: requests arrive at the rate, whether or not others were answered. closed: each user waits for its "
        "answer, which hides delays; for comparison only",
    ),
    option("--rate-per-user", type=float, default=1.0, help="Requests per second of each user, with --users"),
    option("--seed", type=int, default=0, help="Seed of the arrivals and the pictures"),
    option(
        "--pictures",
        metavar="DIR",
        help="Folder of pictures, in subfolders named by their class. Default: sample cats and dogs",
    ),
    option(
        "--bad-share",
        type=float,
        default=0.0,
        help="Share of the requests that send a picture broken on purpose, from 0 to below 1",
    ),
    option("--grpc", metavar="HOST:PORT", help="Address of gRPC. Default: port 7070 of the host"),
    option(
        "--metrics",
        metavar="URL",
        help="URL of the gateway's metrics. Default: port 8082 of the host, if that is this machine",
    ),
    option("--model", help="Name of the model. Default: the one that the server lists in /v1/models"),
    option(
        "--max-models",
        type=int,
        default=1,
        help="Maximum number of models that answer side by side: 2 with a canary. A rollout may add one for a time",
    ),
    option("--ca", metavar="FILE", help="CA bundle (PEM) used to verify an https server"),
    option("--server-name", help="Name that the server's certificate must carry. Default: the host of the URL"),
    option("--request-timeout", type=float, default=30.0, help="Seconds after which a request without an answer fails"),
    option(
        "--max-in-flight",
        type=int,
        default=2000,
        help="Maximum number of requests in flight per process. Requests due beyond it are dropped and counted as such",
    ),
    option("--wait", type=float, default=0.0, help="Maximum seconds to wait until the server is ready"),
    option("--out", metavar="DIR", help="Folder that summary.json, report.html and junit.xml are written to"),
    option("--compare", metavar="FILE", help="File summary.json of an earlier test that this one is compared with"),
    option(
        "--print-summary", action="store_true", help="Print summary.json on standard output, between two marker lines"
    ),
    option("--until-decided", action="store_true", help="Stop as soon as a breach is certain"),
    option("--progress", action="store_true", help="Print a line of progress"),
    option("--quiet", action="store_true", help="Print no figures at the end"),
)


def add_options(parser: Any) -> None:
    """Add the options to Locust's, and leave them out of its web page."""
    group = parser.add_argument_group(TITLE, DESCRIPTION)
    for name, settings in OPTIONS:
        group.add_argument(name, **settings).include_in_web_ui = False
