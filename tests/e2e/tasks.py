"""Sends the demo's tasks and keeps their account: the ledger that sender and tasks write, which knows no operator."""

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import redis
from celery import Celery, chord
from celery.canvas import Signature
from celery_app.ledger import Entry, Event, QueueAccount, account, entry_now, key
from celery_app.recorded import RUN_HEADER
from celery_app.send import Order, signatures
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from tests.integration.silent_backend import silent

CPU_SHARE = 0.02  # many pods share two cores
PRIORITIES = ("", "\x06\x163", "\x06\x166", "\x06\x169")
BLOCK_MILLISECONDS = 2000

Accounts = Mapping[str, QueueAccount]


class Tasks:
    """All tasks of one story, on the Redis of `url` as this machine reaches it."""

    def __init__(self, url: str) -> None:
        outage = [redis.ConnectionError, redis.TimeoutError]
        retry = Retry(ConstantBackoff(0.2), 50)
        self.redis: Any = redis.Redis.from_url(url, decode_responses=True, retry=retry, retry_on_error=outage)
        self.redis.ping()
        self._celery = Celery("story", broker=url, backend=silent(url))
        self._run = uuid.uuid4().hex[:8]
        self._last = "0"
        self.entries: list[Entry] = []

    def send(self, queue: str, count: int, seconds: float, **options: Any) -> list[str]:
        """Send `count` demo tasks of `queue`, each of `seconds`; returns their ids.

        Options: priority, countdown (seconds), to (the queue to send them to, when it is another than their own).
        """
        to = options.pop("to", queue)
        order = Order(count, seconds, CPU_SHARE)
        with self._celery.connection_for_write() as connection:
            own = [self._enter(signature, to) for signature in signatures(queue, order)]
            return [each.apply_async(connection=connection, queue=to, **options).id for each in own]

    def send_chord(self, count: int, seconds: float) -> None:
        """Send `count` parts to the queue batch and their callback to the queue celery."""
        parts = [self._enter(part, "batch") for part in signatures("batch", Order(count, seconds, CPU_SHARE))]
        callback = self._celery.signature("celery_app.default.summarize", queue="celery")
        chord([part.set(queue="batch") for part in parts], app=self._celery)(self._enter(callback, "celery"))

    def _enter(self, signature: Signature, queue: str) -> Signature:
        """The signature on this story's broker, with an id, and written into the ledger as sent."""
        task, name = str(uuid.uuid4()), signature.task
        entry = entry_now(Event.SENT, task=task, attempt=0, execution=f"sent:{task}", name=name, queue=queue)
        self.redis.xadd(key(self._run), {field: str(value) for field, value in asdict(entry).items()})
        own: Signature = self._celery.signature(name, args=signature.args, kwargs=signature.kwargs)
        return own.set(task_id=task, headers={RUN_HEADER: self._run}, **signature.options)

    def accounts(self, block: int | None = None) -> Accounts:
        """What the ledger says now, by queue; with `block` it waits so many milliseconds for something new."""
        for _stream, page in self.redis.xread({key(self._run): self._last}, block=block):
            self.entries += [Entry.parse(fields) for _id, fields in page]
            self._last = page[-1][0]
        found: Accounts = account(self.entries)
        return found

    def wait_for(self, holds: Callable[[Accounts], bool], seconds: float) -> Accounts:
        """The first accounts for which `holds`; AssertionError with the last ones otherwise."""
        deadline = time.monotonic() + seconds
        found = self.accounts()
        while not holds(found):
            assert time.monotonic() < deadline, f"not reached within {seconds} s; last seen: {found}"
            found = self.accounts(BLOCK_MILLISECONDS)
        return found

    def wait_until_running(self, queue: str, count: int, seconds: float) -> None:
        """Until `count` tasks of the queue run at one time."""
        self.wait_for(lambda found: queue in found and len(found[queue].unfinished) >= count, seconds)

    def wait_until_started(self, queue: str, count: int, seconds: float) -> None:
        """Until `count` tasks of the queue have been started, ended ones included."""
        self.wait_for(lambda found: queue in found and _started(found[queue]) >= count, seconds)

    def starts(self, queue: str) -> list[Entry]:
        """The entries of all starts of the queue's tasks, in the order of time."""
        self.accounts()
        found = [entry for entry in self.entries if entry.event is Event.STARTED and entry.queue == queue]
        return sorted(found, key=lambda entry: entry.time)

    def wait_until_done(self, *queues: str, seconds: float) -> Accounts:
        """Until every task that was sent to the queues (default: all) has ended, whatever came of it."""
        return self.wait_for(lambda found: all(_ended(found[queue]) for queue in queues or found), seconds)

    def problems(self) -> list[str]:
        """Whatever keeps the account from being settled: tasks lost, unfinished, failed or run twice."""
        return [problem for each in self.accounts().values() for problem in each.problems]

    def waiting(self, queue: str) -> int:
        """Messages in the queue, all priorities together."""
        lengths: list[int] = [self.redis.llen(queue + step) for step in PRIORITIES]
        return sum(lengths)

    def held(self, queue: str) -> int:
        """Messages of the queue that a worker holds, or that a dead one left behind."""
        hashes = [name for name in self.redis.scan_iter("unacked*") if name == "unacked" or name.startswith("unacked.")]
        return [json.loads(text)[2] for name in hashes for text in self.redis.hvals(name)].count(queue)

    def most_at_once_per_pod(self) -> int:
        """The most tasks that one pod ran at one time."""
        pods = {entry.pod for entry in self.entries if entry.event is not Event.SENT}
        peaks: list[int] = [each.peak for pod in pods for each in account(self._of(pod)).values()]
        return max(peaks)

    def _of(self, pod: str) -> Sequence[Entry]:
        return [entry for entry in self.entries if entry.pod == pod]


def _started(queue: QueueAccount) -> int:
    sent: int = queue.sent
    return sent - len(queue.unstarted)


def _ended(queue: QueueAccount) -> bool:
    return not queue.unstarted and not queue.unfinished
