"""Locust's users: sources of requests, each with connections of its own.

Open loop: arrivals are a Poisson process; users' processes add up to one of the whole rate, so Locust's number of users
is a rate. Closed loop: a user waits for its answer before it sends again, as Locust's usual ones do.
"""

from typing import ClassVar

from locust import User, task
from locust.env import Environment

from loadtest.generate.session import Session, arrive, clock, make_client


class Source(User):  # type: ignore[misc]
    abstract = True
    protocol: ClassVar[str]

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.session: Session = environment.catsdogs.session
        self.rng = self.session.rng()
        self.client = make_client(self.session, self.protocol)
        self.open = self.session.settings.loop == "open"
        self.due = clock()

    def on_start(self) -> None:
        self.wait()

    def wait_time(self) -> float:
        """Return the seconds until the next request is due."""
        rate = self.session.settings.rate_per_user
        if self.open:
            self.due += self.rng.expovariate(rate)
        else:
            # As in Locust's constant_throughput, requests that could not be sent in time are left out.
            self.due = max(self.due + 1 / rate, clock())
        return max(self.due - clock(), 0.0)

    @task  # type: ignore[untyped-decorator]
    def request(self) -> None:
        picture = self.session.pool.draw(self.rng, self.session.settings.options.bad_share)
        if self.open:
            arrive(self.session, self.environment, self.protocol, self.client, picture, self.due)
            return
        self.due = clock()
        if sent := arrive(self.session, self.environment, self.protocol, self.client, picture, self.due):
            sent.join()


class Rest(Source):
    protocol = "rest"


class Multipart(Source):
    protocol = "multipart"


class KServe(Source):
    protocol = "kserve"


class Grpc(Source):
    protocol = "grpc"


USERS: dict[str, type[Source]] = {user.protocol: user for user in (Rest, Multipart, KServe, Grpc)}
