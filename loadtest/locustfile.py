"""catsdogs under load, by Locust: `locust -f loadtest/locustfile.py --host http://127.0.0.1:8080`.

All that Locust does is there: its web page, --headless, --users, --run-time, --processes, --master and --worker. A user
is a source of requests that arrive as a Poisson process, one per second each unless --rate-per-user says otherwise; so
--users 30 means 30 requests per second, whether or not the server keeps up. The options of the group `catsdogs` add
shapes in requests per second, and gates, which end in a verdict and an exit status.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # from a checkout, without an installation

import grpc.experimental.gevent

grpc.experimental.gevent.init_gevent()

from locust import events  # noqa: E402

from loadtest.generate import glue  # noqa: E402
from loadtest.generate.users import Grpc, KServe, Multipart, Rest  # noqa: E402
from loadtest.options import add_options  # noqa: E402

__all__ = ["Grpc", "KServe", "Multipart", "Rest"]

events.init_command_line_parser.add_listener(add_options)
glue.listen(events)
