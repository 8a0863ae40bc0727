"""What Prometheus answers to the queries of a dashboard, by the choices of its variables."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.integration.dashboard_queries import Asked
from tests.integration.prometheus_server import Prometheus

Json = dict[str, Any]


@dataclass(frozen=True)
class Window:
    """The time of a picture, in Unix seconds."""

    start: float
    end: float
    step: float


@dataclass(frozen=True)
class Line:
    """One series: what the legend says, its labels, its moments (seconds from the start) and values, and its end."""

    name: str
    ref: str
    labels: Mapping[str, str]
    moments: Sequence[float]
    values: Sequence[float]
    until: float

    @property
    def last(self) -> float:
        """The last value that is a number."""
        return next((value for value in reversed(self.values) if not math.isnan(value)), math.nan)


def legend(pattern: str, labels: Mapping[str, str]) -> str:
    """The legend of a series as Grafana writes it."""
    if pattern == "__auto":
        return "/".join(value for label, value in labels.items() if label != "__name__")
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found.group(1), ""), pattern)


OF_FAULTS = {
    "celeriac_pool_missing_hooks",
    "celeriac_pool_restored_messages_total",
    "celeriac_pool_recovery_failures_total",
    "celeriac_pool_restarted_workers_total",
    "celeriac_watch_failures_total",
}
"""Metrics of faults that a good run does not have: they have no series."""


def metrics_of(expression: str) -> set[str]:
    """The operator's metrics that a query asks for."""
    return set(re.findall(r"\bceleriac_\w+", expression))


class Source:
    """Prometheus, with the choices of one dashboard."""

    def __init__(self, prometheus: Prometheus, window: Window, choice: Mapping[str, str]) -> None:
        self.window = window
        self._prometheus = prometheus
        self._choice = choice
        self.unanswered: list[str] = []

    async def lines(self, panel: Json) -> list[Line]:
        """All series of a panel over the window; those of instant queries have their last moment alone."""
        found = []
        for target in panel.get("targets", ()):
            asked = target["expr"], target["refId"], target["legendFormat"], target.get("instant", False)
            answers = await self._of(*asked)
            if not answers and not metrics_of(target["expr"]) & OF_FAULTS:
                self.unanswered.append(f"{panel['title']}: {target['expr']}")
            found += answers
        return found

    async def moments(self, expression: str) -> list[float]:
        """Where an annotation stands, in seconds from the start: where its values begin."""
        begun: list[float] = []
        for line in await self._of(expression, "A", "__auto", False):
            before = -math.inf
            for moment, value in zip(line.moments, line.values, strict=True):
                if math.isnan(value):
                    continue
                if moment - before > 2 * self.window.step:
                    begun.append(moment)
                before = moment
        return begun

    async def _of(self, expression: str, ref: str, pattern: str, instant: bool) -> list[Line]:
        text = Asked("", "", expression).with_choice(self._choice, f"{4 * self.window.step:g}s")
        start = self.window.end if instant else self.window.start
        answer = await self._prometheus.over(text, start, self.window.end, self.window.step)
        return [self._line(each, ref, pattern) for each in answer]

    def _line(self, series: Json, ref: str, pattern: str) -> Line:
        """A series with a gap (not a number) wherever it has no sample."""
        moments: list[float] = []
        values: list[float] = []
        for at, text in series["values"]:
            moment = at - self.window.start
            if moments and moment - moments[-1] > 1.5 * self.window.step:
                moments.append(moments[-1] + self.window.step)
                values.append(math.nan)
            moments.append(moment)
            values.append(float(text))
        until = moments[-1] + self.window.step
        return Line(legend(pattern, series["metric"]), ref, series["metric"], moments, values, until)
