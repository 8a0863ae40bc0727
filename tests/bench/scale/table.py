"""The table: a row for each figure, a column for each number of pools, the goals beside them."""

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from tests.bench.scale.figures import Figures

SECONDS, WHOLE, PERCENT, MEBIBYTES, RATE = "{:.2f}", "{:,.0f}", "{:.1f}", "{:.0f}", "{:.2f}"
UP_TO, LARGE = 1000, 5000


@dataclass(frozen=True)
class Row:
    """A figure by its name. `goals`: the most that it may be, up to so many pools."""

    title: str
    name: str
    form: str = SECONDS
    goals: Mapping[int, float] | None = None

    def limit(self, pools: int) -> float | None:
        """For so many pools; None where nothing is promised."""
        fitting = [goal for most, goal in sorted((self.goals or {}).items()) if pools <= most]
        return fitting[0] if fitting else None

    def cell(self, figures: Figures) -> tuple[str, bool | None]:
        """What stands in the column, and whether a goal is met."""
        value, limit = figures.values.get(self.name), self.limit(figures.pools)
        if value is None:
            return "", None
        text = value if isinstance(value, str) else self.form.format(value)
        if limit is None:
            return text, None
        return text, not isinstance(value, str) and float(text.replace(",", "")) <= limit

    @property
    def goal(self) -> str:
        """In words."""
        return ", ".join(f"{limit:g} (to {most:,})" for most, limit in (self.goals or {}).items())


def quantiles(title: str, name: str, p50: Mapping[int, float] | None, p99: Mapping[int, float] | None) -> list[Row]:
    """The rows of a sample."""
    return [
        Row(f"{title}, p50, s", f"{name} p50", goals=p50),
        Row("p99, s", f"{name} p99", goals=p99),
        Row("the slowest, s", f"{name} max"),
        Row("of runs", f"{name} n", WHOLE),
    ]


ROWS = [
    Row("creation: the objects are there after, s", "objects s"),
    Row("every Deployment is there after, s", "deployments s"),
    Row("every status says BrokerReachable after, s", "statuses s", goals={UP_TO: 30}),
    Row("floor: as many pools, Deployments and statuses by bare requests, s", "floor creation s"),
    Row("API requests a pool", "requests a pool", "{:.1f}", {UP_TO: 3}),
    Row("which", "requests"),
    Row("load of the machine", "load creation"),
    Row("idle: CPU of the operator, % of a core", "idle %", PERCENT, {UP_TO: 5}),
    Row("the same for one tick, ms", "cpu a tick ms", PERCENT),
    Row("memory (RSS), MiB", "rss MiB", MEBIBYTES, {UP_TO: 150}),
    Row("API writes a second but the Lease", "writes/s", RATE, {LARGE: 0}),
    Row("API reads a second", "reads/s", RATE, {LARGE: 0.2}),
    Row("which requests a second", "idle requests"),
    Row("Redis commands a second, those in scripts too", "commands/s", WHOLE),
    Row("CPU of Redis, % of a core", "redis %", PERCENT),
    Row("one reading of the broker, ms", "reading ms", PERCENT),
    Row("one tick by its own histogram, ms", "tick ms", PERCENT),
    Row("a scrape of /metrics, s", "scrape s"),
    Row("its lines", "scrape lines", WHOLE),
    Row("/healthz answers meanwhile within, s", "scrape stall s"),
    Row("load of the machine", "load idle"),
    *quantiles("floor: a bare PATCH of /scale", "floor one", None, None),
    *quantiles("floor: 100 such at once by 8 clients", "floor all", None, None),
    Row("load of the machine", "load floor"),
    *quantiles("LPUSH to the final count: one pool among all", "one", {UP_TO: 0.3}, {UP_TO: 0.6, LARGE: 2}),
    Row("load of the machine", "load one"),
    *quantiles("LPUSH to the final count: 100 pools at once", "all", None, {UP_TO: 1, LARGE: 2}),
    Row("load of the machine", "load all"),
    Row("restart with work in all: first acted on, p50, s", "restart p50"),
    Row("the last of all pools, s", "restart max", goals={UP_TO: 10}),
    Row("the last of all pools at its final count, s", "restart final max"),
    Row("all at zero again, once the work is gone, s", "back to zero s"),
    Row("load of the machine", "load restart"),
    *quantiles("50 brokers, before 3 of them hang: one pool", "brokers before", None, None),
    *quantiles("since then: one pool on one of the other 47", "brokers one", {UP_TO: 0.3}, {UP_TO: 0.6}),
    *quantiles("all pools on the other 47 at once", "brokers all", None, {UP_TO: 1}),
    *quantiles("pools on the 3, once they answer again", "brokers back", None, None),
    Row("warnings and errors about the 3", "brokers warnings", WHOLE),
    Row("load of the machine", "load brokers"),
    Row("longest time between two renewals of the Lease, s", "lease gap s"),
    Row("warnings and errors in the log", "warnings", WHOLE, {LARGE: 0}),
    Row("memory after it all (RSS), MiB", "rss after MiB", MEBIBYTES),
    Row("memory at most, MiB", "peak MiB", MEBIBYTES),
]


def machine() -> str:
    """In general words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {system}"


def shown(columns: Sequence[Figures], rows: Sequence[Row], title: str) -> Table:
    """For a terminal."""
    table = Table(title=title, caption=machine())
    table.add_column("figure", min_width=40, max_width=56)
    table.add_column("goal: at most", max_width=20)
    for figures in columns:
        table.add_column(figures.title, justify="right", min_width=14, max_width=30)
    styles = {True: "[green]{} met[/]", False: "[red]{} missed[/]", None: "{}"}
    _each(columns, rows, lambda cells: table.add_row(*cells), styles)
    return table


def markdown(columns: Sequence[Figures], rows: Sequence[Row]) -> str:
    """For docs/benchmarks.md."""
    lines = [
        "| figure | goal: at most | " + " | ".join(figures.title for figures in columns) + " |",
        "|---|---|" + "---:|" * len(columns),
    ]
    styles = {True: "{} met", False: "**{} missed**", None: "{}"}
    _each(columns, rows, lambda cells: lines.append("| " + " | ".join(cells) + " |"), styles)
    return "\n".join(lines) + "\n"


def _each(
    columns: Sequence[Figures],
    rows: Sequence[Row],
    add: Callable[[Sequence[str]], object],
    styles: Mapping[bool | None, str],
) -> None:
    """Each row that any column has something for."""
    for row in rows:
        cells = [row.cell(figures) for figures in columns]
        if any(text for text, _ in cells):
            add([row.title, row.goal, *(styles[met].format(text) if text else "" for text, met in cells)])
