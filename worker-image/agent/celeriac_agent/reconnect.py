"""What becomes of the worker's messages when its connection is lost, and made anew."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .celery_worker import CeleryWorker
from .channel import TaskChannel
from .counters import Counters
from .hooks import Hooks
from .prefork import HANDED_SECONDS, STARVED_SECONDS, expect_starts, hear_of_orphans, hear_of_starts
from .slots import Slots


class Reconnect:
    """Lets tasks go on running over a reconnect where Celery can (5.6), and none run twice that was acknowledged."""

    def __init__(self, worker: CeleryWorker, hooks: Hooks, slots: Slots, counters: Counters) -> None:
        self._worker, self._hooks = worker, hooks
        self._slots, self._counters = slots, counters
        self._latest: TaskChannel | None = None  # None while the connection is lost
        self._owed: list[Callable[[Any], None]] = []  # what was said of messages meanwhile, for the next QoS

    def keeps_running(self) -> bool:
        """Whether tasks go on running over a reconnect, and are acknowledged after it."""
        return self._hooks.have("keep-running", "restore-once")

    def listen_to_children(self) -> None:
        """Hear of what ends in prefork's children after a reconnect, where Celery does not; once for a worker.

        Where that cannot be heard the worker cannot be drained: it may run what neither Celery nor the agent knows of.
        """
        if not self._worker.is_prefork() or self.keeps_running():
            return
        try:
            if self._hooks.have("children"):
                hear_of_orphans(self._worker.raw.pool._pool, self._slots)
            else:
                self._hooks.lose("orphans")
        except Exception as error:
            self._hooks.lose("orphans")
            self._counters.failed("listen to the children", error)

    def take_over(self, channel: TaskChannel) -> None:
        """Override what the channel does when its connection is lost."""
        if self.keeps_running():
            self._keep_running_tasks(channel)
        elif self._hooks.have("restore-once", "qos"):
            self._acknowledge_before_restoring(channel)

    def adopt(self, channel: TaskChannel) -> set[str]:
        """After a reconnect: acknowledge through this channel what is still running; returns the tags to be kept."""
        slots = self._slots
        slots.cancel_queued()
        slots.prune()  # tasks that Celery has cancelled are nobody's
        slots.unanswered.clear()  # all that does not run is put back now
        if not self.keeps_running():
            for tag in slots.acknowledged():
                channel.qos.ack(tag)
            slots.orphan()
            if not self._hooks.have("orphans"):
                for job in list(slots.orphans):
                    slots.end_orphan(job)  # as Celery, which knows of it no more
            return set()
        self._pay(channel)
        kept = self._adopt_running(channel)
        for tag, end in list(slots.settling.items()):
            end.message.channel = channel.raw
            if end.finished and not end.message.acknowledged:
                channel.qos.ack(tag)
            slots.settling.pop(tag, None)
        return kept

    def _adopt_running(self, channel: TaskChannel) -> set[str]:
        slots, qos, kept = self._slots, channel.qos, set()
        for slot in list(slots.passed.values()):
            if slot.since is None and self._worker.is_prefork() and not slot.is_expected():
                slots.passed.pop(id(slot.request), None)  # the pool has thrown away what no child had accepted
            elif not slot.request.message.acknowledged:
                slot.request.message.channel = channel.raw
                qos._quick_append(slot.tag, slot.request.message)
                if slot.request.acknowledged:  # early, and that was lost with the connection
                    qos.ack(slot.tag)
                    slot.tag = ""
                else:
                    kept.add(slot.tag)
        return kept

    def _keep_running_tasks(self, channel: TaskChannel) -> None:
        qos = channel.qos
        original = qos.restore_unacked_once

        def restore_unacked_once(*args: Any, **kwargs: Any) -> Any:
            if not self._worker.tasks_survive_a_reconnect():
                return original(*args, **kwargs)
            self._hear_of_starts()
            qos._delivered.clear()  # after the reconnect, all that is not really running is restored
            self._retire(qos)
            return original(*args, **kwargs)

        qos.restore_unacked_once = restore_unacked_once

    def _retire(self, qos: Any) -> None:
        """Let what is still said to the QoS of a lost connection reach that of the next one.

        A task that ends right then is acknowledged when the loop turns again, by the channel that it came from. That
        has no connection any more, and kombu's AttributeError would take the worker down.
        """

        def ack(tag: str) -> None:
            self._owe(lambda latest: latest.ack(tag))

        def reject(tag: str, requeue: bool = False) -> None:
            self._owe(lambda latest: latest.reject(tag, requeue=requeue))

        qos.ack, qos.reject, self._latest = ack, reject, None

    def _owe(self, word: Callable[[Any], None]) -> None:
        if self._latest is None:
            self._owed.append(word)
        else:
            word(self._latest.qos)

    def _pay(self, channel: TaskChannel) -> None:
        """Say to the new connection what was said while there was none."""
        while self._owed:
            self._owed[0](channel.qos)
            self._owed.pop(0)
        self._latest = channel

    def _acknowledge_before_restoring(self, channel: TaskChannel) -> None:
        qos = channel.qos
        original = qos.restore_unacked_once

        def restore_unacked_once(*args: Any, **kwargs: Any) -> Any:
            self._hear_of_starts()
            for tag in self._slots.acknowledged():
                try:
                    qos.ack(tag)
                except Exception as error:
                    qos._quick_ack(tag)  # the next connection's channel acknowledges it
                    self._counters.failed("acknowledge", error)
            return original(*args, **kwargs)

        qos.restore_unacked_once = restore_unacked_once

    def _hear_of_starts(self) -> None:
        try:
            if not self._worker.is_prefork():
                self._slots.cancel_queued()
                _await_starts(self._slots)
            elif self._hooks.have("children") and self.keeps_running():
                hear_of_starts(self._worker.raw.pool._pool, self._slots)
                expect_starts(self._slots)
            elif self._hooks.have("children"):
                hear_of_starts(self._worker.raw.pool._pool, self._slots, STARVED_SECONDS)
        except Exception as error:
            self._counters.failed("hear what was started", error)


def _await_starts(slots: Slots) -> None:
    """Let the threads or greenlets that were handed a task begin it: what has not begun is put back."""
    deadline = time.monotonic() + HANDED_SECONDS
    while time.monotonic() < deadline and any(slot.since is None for slot in list(slots.passed.values())):
        time.sleep(0.001)
