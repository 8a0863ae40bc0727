"""The checker: what was sent, what started and ended, what is left in Redis. It knows nothing of the agent.

It takes the sender's list, the lines that the tasks wrote, and the moments at which the harness stopped workers, and
looks into Redis when all is done. Nothing that a worker or the agent says about itself counts.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import redis

STARTED, ENDED, RETRIED, FAILED = "started", "ended", "retried", "failed"
# What may remain in Redis: kombu's bindings, the agent's registry, results; no dead letters.
MAY_REMAIN = re.compile(
    r"_kombu\.binding.*|celeriac:(pools|[^:]+:(processes|reports|drain|tasks))|celery-task(set)?-meta-.+"
)


@dataclass(frozen=True)
class Line:
    """One line of a task; `at` in seconds of CLOCK_MONOTONIC, `attempt` counts retries from 0."""

    event: str
    task: str
    attempt: int
    name: str
    pod: str
    pid: int
    at: float
    redelivered: bool


@dataclass(frozen=True)
class Idle:
    """A pod that had said `drained` was to start nothing between these moments (CLOCK_MONOTONIC)."""

    pod: str
    since: float
    until: float = float("inf")


@dataclass(frozen=True)
class Account:
    """What is wrong, as sorted `task/attempt`; all empty in a clean account. `sent` and `ended` are figures.

    lost: sent (or retried) and never ended · twice: started more often than sent · killed: started, never ended, though
    its process is gone · unsent: ran and nobody had sent it · after_drained: started in a pod that had said `drained` ·
    left: keys that should not be in Redis any more, with their length.
    """

    sent: int
    ended: int
    lost: tuple[str, ...] = ()
    twice: tuple[str, ...] = ()
    killed: tuple[str, ...] = ()
    unsent: tuple[str, ...] = ()
    after_drained: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    @property
    def problems(self) -> dict[str, tuple[str, ...]]:
        """What is not empty."""
        wrong = ((item.name, getattr(self, item.name)) for item in fields(self) if item.name not in ("sent", "ended"))
        return {name: value for name, value in wrong if value}


@dataclass
class Ledger:
    """The sender's side, and the file that the tasks write to."""

    file: Path
    sent: Counter[str] = field(default_factory=Counter)  # how often each task is to run: more than once if broadcast
    idle: list[Idle] = field(default_factory=list)
    _lines: list[Line] = field(default_factory=list)
    _read: int = 0  # bytes of the file

    def lines(self) -> list[Line]:
        """All lines so far, in the order in which they were written. Stories ask often: only new ones are read."""
        if self.file.exists():
            with self.file.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read += len(whole)
            self._lines += [Line(**json.loads(line)) for line in whole.splitlines()]
        return list(self._lines)

    def started(self, pod: str | None = None) -> list[str]:
        """The tasks in the order of their starts, of one pod or of all."""
        return [line.task for line in self.lines() if line.event == STARTED and pod in (None, line.pod)]

    def ended(self) -> list[str]:
        """The tasks in the order of their ends; an attempt that asked for a retry has not ended."""
        return [line.task for line in self.lines() if line.event in (ENDED, FAILED)]

    def running(self) -> list[str]:
        """What has started and not ended."""
        lines = self.lines()
        starts = Counter((line.task, line.attempt) for line in lines if line.event == STARTED)
        ends = Counter((line.task, line.attempt) for line in lines if line.event != STARTED)
        return sorted(task for task, _attempt in (starts - ends).elements())

    def settled(self) -> bool:
        """Every task that was sent has ended as often as it was sent."""
        return not self.sent - Counter(self.ended())

    def account(self, client: redis.Redis, prefix: str = "", *, allowed: Iterable[str] = ()) -> Account:
        """The account when all is done and every worker has ended; `allowed` are patterns of further keys."""
        lines = self.lines()
        starts = Counter((line.task, line.attempt) for line in lines if line.event == STARTED)
        ends = Counter((line.task, line.attempt) for line in lines if line.event != STARTED)
        due = Counter({(task, 0): times for task, times in self.sent.items()})
        due.update((line.task, line.attempt + 1) for line in lines if line.event == RETRIED)
        return Account(
            sent=self.sent.total(),
            ended=len(self.ended()),
            lost=_names(due - ends),
            twice=_names(Counter({key: count for key, count in (starts - due).items() if key in due})),
            killed=_names(starts - ends),
            unsent=_names(Counter({key: count for key, count in starts.items() if key not in due})),
            after_drained=_names(Counter((line.task, line.attempt) for line in lines if self._was_drained(line))),
            left=_left(client, prefix, [MAY_REMAIN, *map(re.compile, allowed)]),
        )

    def _was_drained(self, line: Line) -> bool:
        return line.event == STARTED and any(
            idle.pod == line.pod and idle.since < line.at < idle.until for idle in self.idle
        )


def redelivered(lines: Iterable[Line]) -> Mapping[str, list[bool]]:
    """Of each task, in the order of its starts, whether it was marked as delivered before."""
    marks: dict[str, list[bool]] = defaultdict(list)
    for line in lines:
        if line.event == STARTED:
            marks[line.task].append(line.redelivered)
    return marks


def _names(attempts: Counter[tuple[str, int]]) -> tuple[str, ...]:
    return tuple(sorted(f"{task}/{attempt}" for task, attempt in attempts.elements()))


def _left(client: redis.Redis, prefix: str, allowed: list[re.Pattern[str]]) -> tuple[str, ...]:
    keys = [str(key) for key in client.scan_iter(match="*", count=1000)]
    wrong = [key for key in keys if not any(one.fullmatch(key.removeprefix(prefix)) for one in allowed)]
    lengths = {"list": client.llen, "hash": client.hlen, "zset": client.zcard, "string": client.strlen}
    return tuple(sorted(f"{key} ({lengths.get(str(client.type(key)), lambda _: '?')(key)})" for key in wrong))
