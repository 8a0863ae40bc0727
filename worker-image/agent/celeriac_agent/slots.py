"""What has passed the gate: the requests in the pool, and the messages whose acknowledgement is on its way."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from .celery_worker import forget_request, is_known, reserved_requests
from .proc import start_ticks

SETTLE_SECONDS = 10.0  # an acknowledgement that was not sent by then has failed
SHORT_SECONDS = 0.1  # tasks that take less are worth fetching ahead of


@dataclass(eq=False)
class Job:
    """What was given to the pool; `since` (monotonic seconds) is set once a slot of the pool has taken it."""

    result: Any = None  # what the pool answered
    runner: Any = None  # the greenlet that runs it
    since: float | None = None

    def future(self) -> Any:
        """The future of the threads pool, or None."""
        return getattr(self.result, "f", None)

    def is_over(self) -> bool:
        """Whether the thread or greenlet has left it, perhaps without a word.

        Celery's pools call nobody when a task raises what is no Exception, or a callback itself fails.
        """
        future = self.future()
        return bool(future.done()) if future is not None else bool(getattr(self.runner, "dead", False))


@dataclass(eq=False)
class Slot(Job):
    """A request handed to the pool."""

    request: Any = None
    tag: str = ""
    child: int | None = None
    run: Any = None  # what counts its end
    ending: bool = False  # Celery was told of its end, and has perhaps not acknowledged it yet

    def is_handed_over(self) -> bool:
        """Whether a child of prefork was given the request, and has not been heard of since."""
        return self.since is None and getattr(self.result, "_write_to", None) is not None

    def is_expected(self) -> bool:
        """Whether a child will begin what it was handed, and the pool waits for it (see prefork.expect_starts)."""
        return self.is_handed_over() and self.result._accepted and self.result._write_to._is_alive()


@dataclass
class Settling:
    """A message whose request has ended, and whose acknowledgement was not sent yet."""

    message: Any
    finished: bool  # it must not run again
    since: float  # monotonic seconds


class Slots:
    """All requests between the gate and their end, the one truth about what this worker has started."""

    def __init__(self) -> None:
        self.passed: dict[int, Slot] = {}
        self.settling: dict[str, Settling] = {}
        self.orphans: dict[int, Slot] = {}  # what runs over a reconnect, by the number of the pool's job
        self.foreign: set[Job] = set()  # what an application gave to the pool itself
        self.unanswered: dict[str, Any] = {}  # by tag, requests that ended without acknowledgement or rejection
        self.lost: set[str] = set()  # tags whose child died under them
        self.mean_seconds = SHORT_SECONDS  # of the latest tasks, weighted towards the last
        self._ended: deque[float] = deque()
        self._busy = 0.0

    def enter(self, request: Any) -> Slot:
        """Note that a request is being handed to the pool."""
        self.unanswered.pop(request.message.delivery_tag, None)  # a message that comes again keeps its tag
        slot = self.passed[id(request)] = Slot(request=request, tag=request.message.delivery_tag)
        return slot

    def accepted(self, slot: Slot, child: int | None = None) -> None:
        """Note that a slot of the pool has taken the request: with prefork, the child of that pid."""
        slot.since, slot.child = time.monotonic(), child

    def leave(self, slot: Slot, succeeded: bool = False) -> None:
        """Note that a request has ended; called from any thread, more than once."""
        if self.passed.get(id(slot.request)) is not slot:
            return
        request, message = slot.request, slot.request.message
        if slot.tag and getattr(request, "acknowledged", False) and not message.acknowledged:
            self.settling[slot.tag] = Settling(message, succeeded or not request.task.acks_late, time.monotonic())
        elif slot.tag and not message.acknowledged:
            self.unanswered[slot.tag] = request
        self.passed.pop(id(request), None)
        forget_request(request)  # Celery has, unless what ended the task escaped it
        if slot.since is not None:
            seconds = time.monotonic() - slot.since
            self._ended.append(seconds)
            self.mean_seconds += (seconds - self.mean_seconds) / 8

    def prune(self) -> set[str]:
        """Forget requests that Celery dropped without a callback: revoked ones, and those lost over a reconnect.

        Returns the tags of messages whose task failed and whose acknowledgement was never sent: they run again.
        """
        for slot in list(self.passed.values()):
            # For a word that is on its way, in the executor, or in a child's pipe.
            waits, is_over = slot.ending or slot.future() is not None or slot.is_expected(), slot.is_over()
            if is_over and slot.run is not None:
                slot.run.vanished()
            if is_over or not (waits or is_known(slot.request)):
                self.leave(slot)
        for job, slot in list(self.orphans.items()):
            if not start_ticks(slot.child or 0):
                self.end_orphan(job)
        for foreign in list(self.foreign):
            if foreign.is_over():
                self.foreign.discard(foreign)
        again = set()
        for tag, end in list(self.settling.items()):
            if not end.message.acknowledged:
                if time.monotonic() - end.since < SETTLE_SECONDS:
                    continue
                end.since = time.monotonic()
                if end.finished:
                    end.message.channel.qos.ack(tag)
                else:
                    again.add(tag)
            self.settling.pop(tag, None)
        return again

    def cancel_queued(self, only: Collection[str] | None = None) -> set[str]:
        """Take back what waits in the executor of the threads pool and has not begun; returns the tags."""
        cancelled = set()
        for slot in list(self.passed.values()):
            future = slot.future() if only is None or slot.tag in only else None
            if future is not None and future.cancel():
                self.passed.pop(id(slot.request), None)
                cancelled.add(slot.tag)
        return cancelled

    def waiting(self) -> set[str]:
        """The tags of requests that are due and wait for a slot."""
        begun = {slot.tag for slot in list(self.passed.values()) if slot.since is not None}
        return {request.message.delivery_tag for request in reserved_requests()} - begun

    def are_short(self) -> bool:
        """Whether tasks took a short time lately, and those that run have not taken longer."""
        now = time.monotonic()
        running = [slot.since for slot in list(self.passed.values()) if slot.since is not None]
        return self.mean_seconds < SHORT_SECONDS and all(now - since < SHORT_SECONDS for since in running)

    def acknowledged(self) -> set[str]:
        """The tags of messages that must not run again, and of which Redis may not have been told."""
        early = {
            slot.tag
            for slot in list(self.passed.values())
            if slot.tag and slot.request.acknowledged and not slot.request.message.acknowledged
        }
        return early | {tag for tag, end in list(self.settling.items()) if end.finished}

    def orphan(self) -> None:
        """Celery did not carry its requests over a reconnect: what still runs has no message here any more."""
        self.settling.clear()
        self.unanswered.clear()
        for slot in list(self.passed.values()):
            if slot.since is None:
                self.passed.pop(id(slot.request), None)
            elif slot.child is not None:
                self.orphans[slot.result._job] = slot
            slot.tag = ""  # the message may come back to this very worker, under the same tag

    def end_orphan(self, job: int) -> None:
        """Note that a child has ended what it ran over a reconnect, or has died; Celery does not hear of it."""
        slot = self.orphans.pop(job, None)
        if slot is not None:
            self.leave(slot)

    def tags(self) -> set[str]:
        """The tags of all messages that must not be given back."""
        return {slot.tag for slot in list(self.passed.values())} | set(self.settling)

    def add_busy(self, seconds: float) -> None:
        """Add slot-seconds of requests that did not pass the gate."""
        self._busy += seconds

    def busy_seconds(self) -> float:
        """Slot-seconds since start, those of running requests included."""
        while self._ended:
            self._busy += self._ended.popleft()
        now = time.monotonic()
        return self._busy + sum(now - slot.since for slot in list(self.passed.values()) if slot.since is not None)
