"""The demo's ledger: what was sent and what ran, kept in Redis by sender and tasks for an independent checker.

Each run has one Redis stream, `demo:ledger:<run>`, with one entry per event: the sender writes `sent` before it
publishes, a task writes `started`, then `succeeded`, `retried` or `failed`. Every entry tells the task, the attempt (0,
then 1 after the first retry), the execution, the queue, the pod (its host name), the process and the time.
"""

import functools
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

KEEP_SECONDS = 24 * 3600
RETRIES = 15
PAGE = 1000
POLL_SECONDS = 0.5


class Event(StrEnum):
    """What can befall one attempt of a task."""

    SENT = "sent"
    STARTED = "started"
    SUCCEEDED = "succeeded"
    RETRIED = "retried"
    FAILED = "failed"


ENDS = frozenset({Event.SUCCEEDED, Event.RETRIED, Event.FAILED})


@dataclass(frozen=True)
class Entry:
    """One line of the ledger; `execution` is unique per run of a task's body, `time` is in Unix seconds."""

    event: Event
    task: str
    attempt: int
    execution: str
    name: str
    queue: str
    pod: str
    pid: int
    time: float

    @classmethod
    def parse(cls, fields: dict[str, str]) -> "Entry":
        """An entry from the strings that Redis or JSON gave; raises KeyError or ValueError on anything else."""
        return cls(
            event=Event(fields["event"]),
            task=fields["task"],
            attempt=int(fields["attempt"]),
            execution=fields["execution"],
            name=fields["name"],
            queue=fields["queue"],
            pod=fields["pod"],
            pid=int(fields["pid"]),
            time=float(fields["time"]),
        )


@dataclass(frozen=True)
class QueueAccount:
    """The figures of one queue. An attempt is `task/attempt`; tuples of attempts are sorted.

    `unstarted` was sent and never began: it waits, or it is lost. `unfinished` began and did not end: it runs, or its
    worker died. `doubled` began more than once. `unsent` ran though nobody sent it. `peak` is the most at one time.
    """

    queue: str
    sent: int
    succeeded: int
    retried: int
    unstarted: tuple[str, ...]
    unfinished: tuple[str, ...]
    failed: tuple[str, ...]
    doubled: tuple[str, ...]
    unsent: tuple[str, ...]
    pods: tuple[str, ...]
    processes: int
    peak: int

    @property
    def problems(self) -> list[str]:
        """What keeps this account from being settled, in words; empty when every task succeeded exactly once."""
        kinds = {
            "sent but never started": self.unstarted,
            "started but not finished": self.unfinished,
            "failed": self.failed,
            "ran more than once": self.doubled,
            "ran without having been sent": self.unsent,
        }
        found = [f"{self.queue}: {len(those)} {kind}: {_some(those)}" for kind, those in kinds.items() if those]
        if not found and self.sent != self.succeeded:
            found.append(f"{self.queue}: {self.sent} sent, {self.succeeded} succeeded")
        return found


def account(entries: Iterable[Entry]) -> dict[str, QueueAccount]:
    """Settle the ledger: one account per queue, by name. An entry that was written twice counts once."""
    unique = {(entry.execution, entry.event): entry for entry in entries}.values()
    queue_of = {entry.task: entry.queue for entry in sorted(unique, key=lambda entry: entry.event is Event.SENT)}
    by_queue: dict[str, list[Entry]] = defaultdict(list)
    for entry in unique:
        by_queue[queue_of[entry.task]].append(entry)
    return {queue: _account_of(queue, by_queue[queue]) for queue in sorted(by_queue)}


def _account_of(queue: str, entries: list[Entry]) -> QueueAccount:
    starts: dict[str, set[str]] = defaultdict(set)
    ended: dict[Event, set[str]] = {event: set() for event in ENDS}
    sent, expected, finished = set(), set(), set()
    for entry in entries:
        attempt = f"{entry.task}/{entry.attempt}"
        match entry.event:
            case Event.SENT:
                sent.add(attempt)
            case Event.STARTED:
                starts[attempt].add(entry.execution)
            case end:
                ended[end].add(attempt)
                finished.add(entry.execution)
        if entry.event is Event.RETRIED:
            expected.add(f"{entry.task}/{entry.attempt + 1}")
    expected |= sent
    running = [entry for entry in entries if entry.event is not Event.SENT]
    return QueueAccount(
        queue=queue,
        sent=len(sent),
        succeeded=len(ended[Event.SUCCEEDED]),
        retried=len(ended[Event.RETRIED]),
        unstarted=tuple(sorted(expected - starts.keys())),
        unfinished=tuple(sorted(attempt for attempt, executions in starts.items() if executions - finished)),
        failed=tuple(sorted(ended[Event.FAILED])),
        doubled=tuple(sorted(attempt for attempt, executions in starts.items() if len(executions) > 1)),
        unsent=tuple(sorted(starts.keys() - expected)),
        pods=tuple(sorted({entry.pod for entry in running})),
        processes=len({(entry.pod, entry.pid) for entry in running}),
        peak=_peak(running),
    )


def _peak(entries: list[Entry]) -> int:
    """The most executions at one time; one that ends at the instant another starts does not overlap it."""
    changes = sorted((entry.time, 1 if entry.event is Event.STARTED else -1) for entry in entries)
    running = peak = 0
    for _time, change in changes:
        running += change
        peak = max(peak, running)
    return peak


def _some(attempts: tuple[str, ...], limit: int = 3) -> str:
    rest = len(attempts) - limit
    return ", ".join(attempts[:limit]) + (f" and {rest} more" if rest > 0 else "")


def key(run: str) -> str:
    """The Redis key of a run's stream."""
    return f"demo:ledger:{run}"


@functools.cache
def connect() -> Any:
    """This process's client for the ledger: LEDGER_URL, or else the broker, as redis-py takes URLs.

    It rides out an outage of some ten seconds; an entry that is written again by a retry counts once.
    """
    url = os.environ.get("LEDGER_URL") or os.environ.get("CELERY_BROKER_URL", "redis://localhost:6379/0")
    outage = [redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError]
    patience = Retry(ExponentialBackoff(cap=1.0, base=0.05), RETRIES)
    return redis.Redis.from_url(url, decode_responses=True, retry=patience, retry_on_error=outage)


def record(run: str, *entries: Entry) -> None:
    """Append entries to the run's stream, in one round trip; the stream is kept for a day."""
    with connect().pipeline(transaction=False) as pipeline:
        for entry in entries:
            pipeline.xadd(key(run), {name: str(value) for name, value in asdict(entry).items()})
        pipeline.expire(key(run), KEEP_SECONDS)
        pipeline.execute()


def read(run: str, after: str = "0") -> tuple[str, list[Entry]]:
    """All entries written after the stream id `after`, and the id to go on from."""
    entries: list[Entry] = []
    while page := connect().xrange(key(run), min=f"({after}", count=PAGE):
        entries += [Entry.parse(fields) for _id, fields in page]
        after = page[-1][0]
    return after, entries


def follow(run: str) -> Iterator[list[Entry]]:
    """The new entries each time the ledger has grown; never ends."""
    last = "0"
    while True:
        last, entries = read(run, after=last)
        if entries:
            yield entries
        time.sleep(POLL_SECONDS)


def entry_now(event: Event, *, task: str, attempt: int, execution: str, name: str, queue: str) -> Entry:
    """An entry of this process, at this moment."""
    pod, pid = os.environ.get("HOSTNAME") or os.uname().nodename, os.getpid()
    return Entry(event, task, attempt, execution, name, queue, pod, pid, time.time())
