"""A simulated service on days on which nothing happens that anybody should be told of.

Requests follow the hour, with a few an hour at night. Some fail alone, some are slow, clients leave or send what is no
picture; pictures come in runs that are alike. Each day has a rollout, for four minutes of which both versions answer,
and a pod whose TorchServe is started again.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from monitoring.objectives import Objectives
from tests.monitoring.blocks import Samples
from tests.monitoring.replay import CLASS, shares_of, shipped

EVERY_S, DAY_S = 15, 86400
ROLLOUT_S, SKEW_S = 11 * 3600, 240
RESTART_S, DOWN_S = 3 * 3600 + 1200, 40
PODS = 2
# Shares of the requests. The objectives allow 0.1 % failures, and 1 % slow ones.
FAILED, LATE, LEFT, REFUSED = 0.0002, 0.002, 0.001, 0.02
RUN = 5
"""Pictures of a run that are alike."""
Ints = npt.NDArray[np.int64]


@dataclass
class Deviation:
    """A difference from a quiet day, between two seconds of a day."""

    begin_s: int
    end_s: int
    failed: float = FAILED
    late: float = LATE
    workers: int = 2
    dark: bool = False


@dataclass
class Simulation:
    hours: float
    objectives: Objectives
    deviations: list[Deviation] = field(default_factory=list)
    first_s: int = 0
    """Second of the first day at which it begins."""
    seed: int = 0

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.second = self.first_s + np.arange(round(self.hours * 3600 / EVERY_S)) * EVERY_S

    def requests(self, share: float) -> Ints:
        """Return the requests of each step: three an hour at night, two a second by day, half as many on Sundays."""
        hour = self.second / 3600 % 24
        daylight = np.clip(np.sin((hour - 6) / 14 * np.pi), 0, None) * ((hour > 6) & (hour < 20))
        sunday = np.where(self.second // DAY_S % 7 == 6, 0.5, 1)
        per_s = share * (3 / 3600 + 2 * daylight * sunday)
        return self.rng.poisson(per_s * EVERY_S)

    def series(self) -> tuple[dict[str, Samples], dict[str, Samples]]:
        """Return the series of all pods: those of each scrape, and those that change little, of each fourth."""
        fast: dict[str, Samples] = {}
        slow: dict[str, Samples] = {}
        releases = int(self.second[-1] // DAY_S) + 2
        for release in range(releases):
            begin = 0 if release == 0 else (release - 1) * DAY_S + ROLLOUT_S
            end = release * DAY_S + ROLLOUT_S + SKEW_S
            for number in range(PODS):
                own = PodSeries(self, f"catsdogs-{release}-{number}", f"0.{release}.0", begin, end)
                fast |= own.fast(restarted=number == 0)
                slow |= own.slow()
        return fast, {name: samples[::4] for name, samples in slow.items()}


@dataclass
class PodSeries:
    """The series of one pod, which lives from `begin` to `end`."""

    simulation: Simulation
    name: str
    version: str
    begin: int
    end: int

    def __post_init__(self) -> None:
        second = self.simulation.second
        self.lives = (second >= self.begin) & (second < self.end)
        self.answered = {
            protocol: self.simulation.requests(1 / PODS) * self.lives for protocol in self.simulation.objectives.latency
        }

    def key(self, name: str, **labels: str) -> str:
        added = {"job": "catsdogs", "namespace": "pets", "pod": self.name, "instance": self.name}
        return name + "{" + ",".join(f'{label}="{value}"' for label, value in {**labels, **added}.items()) + "}"

    def gauge(self, value: float | Samples) -> Samples:
        return np.where(self.lives, value, np.nan)

    def counter(self, events: npt.NDArray[np.generic], since: int = 0) -> Samples:
        """Return the sum of events, which begins anew at a step."""
        total = np.cumsum(np.asarray(events, dtype=float) * self.lives)
        if since:
            total[since:] -= total[since - 1]
        return self.gauge(total)

    def share(self, name: str) -> Samples:
        """Return a deviation's share at each step."""
        usual = Deviation(0, 0)
        shares = np.full(len(self.lives), getattr(usual, name), dtype=float)
        for one in self.simulation.deviations:
            shares[self.within(one)] = getattr(one, name)
        return shares

    def within(self, one: Deviation) -> npt.NDArray[np.bool_]:
        second = self.simulation.second % DAY_S
        return np.asarray((second >= one.begin_s) & (second < one.end_s))

    def fast(self, restarted: bool) -> dict[str, Samples]:
        rng, made = self.simulation.rng, {}
        second = self.simulation.second % DAY_S
        down = (second >= RESTART_S) & (second < RESTART_S + DOWN_S) & restarted
        since = int(np.argmax(down)) if down.any() else 0
        name = "catsdogs_request_duration_seconds"
        for protocol, answered in self.answered.items():
            edge = repr(float(self.simulation.objectives.latency[protocol].threshold))
            failed = rng.binomial(answered, self.share("failed"))
            late, left = rng.binomial(answered - failed, self.share("late")), rng.binomial(answered - failed, LEFT)
            codes = {
                "200": (answered - failed, np.maximum(0, answered - failed - late)),
                "499": (left, left),
                "503": (failed, failed),
                "415": (rng.binomial(answered, REFUSED), None),
            }
            for code, (count, quick) in codes.items():
                labels = {"protocol": protocol, "code": code, "traffic": "user"}
                made[self.key(f"{name}_count", **labels)] = self.counter(count)
                if quick is not None:
                    made[self.key(f"{name}_bucket", **labels, le=edge)] = self.counter(quick)
        for worker in ("0", "1"):
            age = np.where(down, 12.0, rng.uniform(0.1, 1.1, len(down)))
            made[self.key("catsdogs_worker_heartbeat_age_seconds", worker=worker)] = self.gauge(age)
        ready = np.where(down, 0, self.share("workers"))
        for gauge, value in {
            "catsdogs_torchserve_up": np.where(down, 0.0, 1.0),
            "catsdogs_workers_ready": ready,
            "catsdogs_queue_requests": rng.poisson(0.3, len(down)).astype(float),
        }.items():
            made[self.key(gauge)] = self.gauge(value)
        made[self.key("up", metrics_path="/metrics")] = self.gauge(1)
        restarts = self.counter((np.arange(len(down)) == since) & down)
        made[self.key("catsdogs_torchserve_restarts_total")] = restarts
        return made

    def slow(self) -> dict[str, Samples]:
        """Return the series about the model, and those that stay."""
        made = {
            self.key("catsdogs_workers_wanted"): self.gauge(2),
            self.key("catsdogs_queue_limit_requests"): self.gauge(32),
            self.key("catsdogs_model_info", version=self.version, sha256=f"sha of {self.version}"): self.gauge(1),
            self.key("catsdogs_worker_restarts_total", reason="hung"): self.gauge(0),
            **self.pictures(),
        }
        answered = sum(self.answered.values())
        assert isinstance(answered, np.ndarray)
        uncertainty = "catsdogs_prediction_uncertainty_ratio"
        made[self.key(f"{uncertainty}_count")] = self.counter(answered)
        made[self.key(f"{uncertainty}_sum")] = self.counter(answered * 0.02)
        return made

    def pictures(self) -> dict[str, Samples]:
        """Return the counts of pictures by bin of each feature, and of predictions by class."""
        rng, reference = self.simulation.rng, shipped()
        runs = sum(self.answered.values()) // RUN
        dark = np.zeros(len(self.lives), dtype=bool)
        for one in self.simulation.deviations:
            dark |= self.within(one) & one.dark
        made: dict[str, Samples] = {self.key("catsdogs_drift_reference_pictures"): self.gauge(reference.pictures)}
        for name, shares in shares_of(reference).items():
            usual = rng.multinomial(runs, shares / shares.sum()) * RUN
            if name == "brightness":
                darkest = np.outer(runs * RUN, np.arange(len(shares)) == 0)
                usual = np.where(dark[:, None], darkest, usual)
            of_class = name == CLASS
            counter = "catsdogs_predictions_total" if of_class else "catsdogs_drift_bin_total"
            gauge = "catsdogs_drift_reference_class_ratio" if of_class else "catsdogs_drift_reference_ratio"
            for index, share in enumerate(shares):
                if of_class:
                    labels = {"class": list(reference.classes)[index]}
                else:
                    labels = {"feature": name, "bin": f"{index:02}"}
                more = {"traffic": "user"} if of_class else {}
                made[self.key(counter, **labels, **more)] = self.counter(usual[:, index])
                made[self.key(gauge, **labels)] = self.gauge(float(share))
        return made
