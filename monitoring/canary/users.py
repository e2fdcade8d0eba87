"""Users' requests of each track, as Prometheus has counted them since the watch began."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from handler.files import UserError, first_line
from monitoring.rules.indicators import Indicator
from monitoring.rules.model import Target


@dataclass(frozen=True, slots=True)
class Counted:
    """Requests that count for an objective, and those that break it."""

    count: int
    bad: int


@dataclass(frozen=True, slots=True)
class Users:
    """The Prometheus that scrapes both tracks, whose series the label `track` tells apart.

    Args:
        url: of Prometheus.
        selector: matchers of the release's series.
    """

    url: str
    selector: str

    def count(self, track: str, indicators: Sequence[Indicator], seconds: float) -> dict[str, Counted]:
        """Return the requests of a track in the last seconds, by the name of the indicator; those without are left out.

        Raises:
            UserError: Prometheus cannot be asked.
        """
        target = Target("canary", f'{self.selector},track="{track}"')
        window = f"{max(60, math.ceil(seconds))}s"
        counted = {}
        with httpx.Client(base_url=self.url, timeout=30, trust_env=False) as client:
            for indicator in indicators:
                total = self._value(client, indicator.total(target, window, "increase"))
                bad = self._value(client, indicator.bad(target, window, "increase"))
                # Prometheus extrapolates to the window's ends, so that both are fractions.
                if count := round(total):
                    counted[indicator.name] = Counted(count, min(count, max(0, round(bad))))
        return counted

    def _value(self, client: httpx.Client, query: str) -> float:
        """Return the value of a query with one sample at most; 0 without one."""
        try:
            response = client.get("/api/v1/query", params={"query": query})
            document = response.json()
            if response.status_code != 200:
                raise UserError(
                    f"Prometheus at {self.url} refuses a query: {document.get('error', response.status_code)}"
                )
            samples = document["data"]["result"]
            value = float(samples[0]["value"][1]) if samples else 0.0
        except UserError:
            raise
        except (
            httpx.HTTPError,
            httpx.InvalidURL,
            json.JSONDecodeError,
            LookupError,
            TypeError,
            AttributeError,
        ) as error:
            raise UserError(f"Prometheus at {self.url} cannot be asked: {first_line(error)}") from error
        return value if math.isfinite(value) else 0.0
