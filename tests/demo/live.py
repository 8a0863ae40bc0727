"""What a person sees while the demo runs: a table on a terminal, otherwise a line every few seconds."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from celery_app.ledger import QueueAccount
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from tests.demo.pools import DemoPool
from tests.demo.state import PoolState

LINE_EVERY_SECONDS = 5.0


@dataclass(frozen=True)
class Snapshot:
    """All pools at one moment: the queues' lengths in Redis, the ledger's accounts, what the API server says."""

    pools: Sequence[DemoPool]
    lengths: Mapping[str, int]
    accounts: Mapping[str, QueueAccount]
    states: Mapping[str, PoolState]

    def figures(self, pool: DemoPool) -> tuple[int, int, int, int]:
        """Queue length, tasks that run, tasks done, tasks sent."""
        account = self.accounts.get(pool.queue)
        length = self.lengths.get(pool.queue, 0)
        return (length, len(account.unfinished), account.succeeded, account.sent) if account else (length, 0, 0, 0)


def table(snapshot: Snapshot, seconds: float) -> Table:
    """The figures, one row per pool."""
    view = Table(title=f"Celery pools after {seconds:.0f} s", title_justify="left")
    for title in ("pool", "queue"):
        view.add_column(title, no_wrap=True)
    for title in ("length", "running", "done", "desired", "ready"):
        view.add_column(title, justify="right", no_wrap=True)
    for pool in snapshot.pools:
        length, running, done, sent = snapshot.figures(pool)
        state = snapshot.states[pool.name]
        numbers = (str(length), str(running), f"{done}/{sent}", _or_dash(state.decided), str(state.ready))
        view.add_row(pool.name, pool.queue, *numbers)
    return view


def decisions(snapshot: Snapshot) -> Table:
    """The last decision of each pool in the operator's words."""
    view = Table("pool", "last decision", show_header=False, box=None)
    for pool in snapshot.pools:
        view.add_row(pool.name, snapshot.states[pool.name].decision)
    return view


def line(snapshot: Snapshot, seconds: float) -> str:
    """All pools on one line."""
    return f"{seconds:4.0f} s  " + "  |  ".join(_brief(snapshot, pool) for pool in snapshot.pools)


def _brief(snapshot: Snapshot, pool: DemoPool) -> str:
    length, running, done, sent = snapshot.figures(pool)
    state = snapshot.states[pool.name]
    replicas = f"{state.ready}/{_or_dash(state.decided)} ready"
    return f"{pool.name}: {length} queued, {running} running, {done}/{sent} done, {replicas}"


def _or_dash(number: int | None) -> str:
    return "-" if number is None else str(number)


class Screen:
    """Shows snapshots as they come; use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._next_line = 0.0
        self._decided: dict[str, int | None] = {}
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> "Screen":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, snapshot: Snapshot) -> None:
        """Redraw the table; without a terminal each new decision, and all pools from time to time."""
        seconds = time.monotonic() - self._began
        if self._live:
            self._live.update(Group(table(snapshot, seconds), decisions(snapshot)), refresh=True)
            return
        for name, state in snapshot.states.items():
            if state.decided != self._decided.get(name):
                self._decided[name] = state.decided
                self.print(f"{seconds:4.0f} s  {name}: {state.decision}")
        if seconds >= self._next_line:
            self._next_line = seconds + LINE_EVERY_SECONDS
            self.print(line(snapshot, seconds))

    def print(self, text: str) -> None:
        """Write a line that stays, above the table."""
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)
