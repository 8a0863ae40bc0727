"""What the parent of prefork hears of its children."""

from __future__ import annotations

import inspect
import select
import time
from multiprocessing.connection import wait
from typing import Any

from .slots import Slot, Slots
from .times import TICK_SECONDS

HANDED_SECONDS = 1.0  # a child that was handed a task has begun it by then,
STARVED_SECONDS = 10.0  # and one that runs nothing, on a machine without time for it
MESSAGE_SECONDS = 10.0  # a child that writes has written by then, unless it is stopped


def is_lost_child(error: Any) -> bool:
    """Whether a task failed because the child that ran it died."""
    cause = getattr(error, "exc", error)
    return type(cause).__name__ in ("WorkerLostError", "SystemExit", "KeyboardInterrupt")


def hear_of_orphans(pool: Any, slots: Slots) -> None:
    """Learn when children end what they ran over a reconnect.

    Before Celery 5.6 a reconnect empties the pool's table of jobs: nobody is told when those that run end.
    """
    from billiard.pool import READY

    handlers = pool._result_handler.state_handlers
    on_ready = handlers[READY]

    def heard(job: int, *args: Any) -> None:
        try:
            on_ready(job, *args)
        finally:
            slots.end_orphan(job)

    handlers[READY] = heard


class _Ears:
    """Stands in for the loop's hub while the loop stands still.

    Celery's reader of a child's pipe puts itself into the hub that it was made for. The hub's poller is new by then,
    and kombu polls it for the next connection alone: before 5.7 it takes the worker down over a pipe in it.
    """

    def __init__(self, pool: Any) -> None:
        self._unfinished: dict[int, Any] = {}  # by pipe: the reader of a message of which a part has come
        self._closed: set[int] = set()
        self._pipes = pool._fileno_to_outq
        self._begin = pool._result_handler._make_process_result(self)

    def add_reader(self, pipe: int, reader: Any, *args: Any) -> None:
        """As the hub's: Celery has read a part of a message, or, with `args`, all of it."""
        if args:
            self._unfinished.pop(pipe, None)
        else:
            self._unfinished[pipe] = reader

    def remove_reader(self, pipe: int) -> None:
        """As the hub's: the child at the other end is gone."""
        self._unfinished.pop(pipe, None)
        self._closed.add(pipe)

    def hear(self) -> None:
        """Read what comes within a tick."""
        pipes: list[Any] = wait(set(self._pipes) - self._closed, TICK_SECONDS)
        for pipe in pipes:
            reader = self._unfinished.get(pipe)
            if reader is None:
                self._begin(pipe)
                continue
            try:
                next(reader)
            except StopIteration:
                self._unfinished.pop(pipe, None)
            except (OSError, EOFError):
                self.remove_reader(pipe)

    def amid_a_message(self) -> bool:
        """Whether a message has come in part: whoever reads that pipe next would take its rest for the next one."""
        return bool(self._unfinished)


def hear_of_starts(pool: Any, slots: Slots, idle_seconds: float = HANDED_SECONDS) -> None:
    """Read what the children say, until each that was handed a task has begun it; `idle_seconds` for idle ones.

    The loop that reads the pipes has stopped with the loss of the connection. A task that was handed over just before
    would be put back, and run twice.
    """
    if not _awaits_a_start(slots):
        return
    _finish_writing(slots)
    ears, begun = _Ears(pool), time.monotonic()
    while time.monotonic() - begun < HANDED_SECONDS and _awaits_a_start(slots):
        ears.hear()
    while time.monotonic() - begun < idle_seconds and _awaits_an_idle_child(slots):
        ears.hear()
    while ears.amid_a_message() and time.monotonic() - begun < MESSAGE_SECONDS:
        ears.hear()


def expect_starts(slots: Slots) -> None:
    """Let the pool wait for what a child was handed and has not begun: it will, as nothing takes it back.

    From Celery 5.6 on a pool that ends, or whose worker has lost its connection, forgets a task of which it has not
    heard that a child has begun it. The message goes back into its queue then, and the child runs it nevertheless.
    """
    for slot in list(slots.passed.values()):
        if slot.is_handed_over() and _writer_of(slot) is None:
            slot.result._accepted = True


def _finish_writing(slots: Slots) -> None:
    """Hand over the rest of tasks that are larger than a pipe.

    Celery does it later, when their messages have been put back, and 5.3 waits there for ever.
    """
    deadline = time.monotonic() + MESSAGE_SECONDS
    for slot in list(slots.passed.values()):
        job, writer = slot.result, _writer_of(slot)
        if writer is None:
            continue
        poller = select.poll()
        poller.register(job._write_to.inqW_fd, select.POLLOUT)
        while time.monotonic() < deadline and job._write_to._is_alive():
            try:
                if poller.poll(TICK_SECONDS * 1000):
                    next(writer)
            except (StopIteration, OSError, EOFError):
                break


def _writer_of(slot: Slot) -> Any:
    """Celery's generator that has written a part of a task to a child, None where nothing or all of it is written."""
    job = slot.result
    writer = job._writer() if slot.is_handed_over() and hasattr(job, "_writer") else None  # a weak reference
    suspended = writer is not None and inspect.getgeneratorstate(writer) == inspect.GEN_SUSPENDED
    return writer if suspended else None


def _awaits_a_start(slots: Slots) -> bool:
    return any(slot.is_handed_over() for slot in list(slots.passed.values()))


def _awaits_an_idle_child(slots: Slots) -> bool:
    """With `-O fast` a task waits in the pipe of a child that runs another: that may take any time."""
    passed = list(slots.passed.values())
    busy = {slot.child for slot in passed if slot.since is not None}
    return any(slot.is_handed_over() and slot.result._write_to.pid not in busy for slot in passed)
