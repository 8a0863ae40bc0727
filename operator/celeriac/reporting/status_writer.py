"""Tells people what is going on: the status within a budget of writes, an event for each change of a condition."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from celeriac.api.keys import PoolKey
from celeriac.api.notices import Notice
from celeriac.api.reasons import Reason
from celeriac.cluster.client import Api
from celeriac.cluster.errors import Conflict, NotFound
from celeriac.cluster.events import EventRecorder
from celeriac.reporting.status import Status, View, build_status, noteworthy, urgent
from celeriac.resources.labels import selector
from celeriac.telemetry.metrics import Metrics
from celeriac.watching.store import KnownPool

NOTEWORTHY_SECONDS = 10.0
"""A reason that changed without a change of the replicas waits so long since the last write."""

ACTIONS = {"Ready": "Reconcile", "BrokerReachable": "ReadQueues", "ScalingActive": "Scale"}
"""Conditions whose loss is worth an event of type Warning and whose return one of type Normal, with what was tried."""


class Budget:
    """Slots for writes over all pools: `per_second` of them, bursts of as many. Each caller gets one of its own."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1 / per_second
        self._burst_seconds = 1 - self._interval
        self._clock = clock
        self._next = clock()

    def reserve(self) -> float:
        """Take the next free slot; returns the moment from which it may be used."""
        now = self._clock()
        slot = max(now, self._next - self._burst_seconds)
        self._next = max(now, self._next) + self._interval
        return slot


class Reporter:
    """Writes statuses: an urgent change at once, counts and sentences every `status_seconds`, all within the budget."""

    def __init__(
        self,
        *,
        api: Api,
        events: EventRecorder,
        metrics: Metrics,
        budget: Budget,
        status_seconds: float,
        again: Callable[[PoolKey, float], None],
    ) -> None:
        self._api = api
        self._events = events
        self._metrics = metrics
        self._budget = budget
        self._status_seconds = status_seconds
        self._again = again
        self._written: dict[PoolKey, tuple[str, Status, float]] = {}
        self._slots: dict[PoolKey, float] = {}
        self._warned: set[tuple[PoolKey, str]] = set()

    def forget(self, key: PoolKey) -> None:
        """Forget a deleted pool."""
        self._written.pop(key, None)
        self._slots.pop(key, None)
        self._warned = {(warned, type_) for warned, type_ in self._warned if warned != key}

    def forget_all(self) -> None:
        """Trust nothing that was written: another replica of the operator may have written since."""
        self._written.clear()

    async def report(self, view: View) -> None:
        """Write the pool's status if it is news, now or as soon as the budget allows. Raises ApiError."""
        key = view.known.key
        self._again(key, self._status_seconds)
        uid, previous, written_at = self._written.get(key, ("", view.known.status, float("-inf")))
        if uid != view.known.uid:
            previous, written_at = view.known.status, float("-inf")
        status = build_status(view, previous, datetime.now(UTC), selector(key.name))
        for condition in status["conditions"]:
            self._metrics.condition(key, condition["type"], condition["status"])
        now = time.monotonic()
        if status == previous:
            return
        due = written_at + self._patience(status, previous)
        if due <= now:
            if key not in self._slots:
                self._slots[key] = self._budget.reserve()
            due = self._slots[key]
        if due > now:
            self._again(key, due - now)
            return
        self._slots.pop(key, None)
        try:
            await self._api.apply_pool_status(key, view.known.uid, status)
        except (NotFound, Conflict):
            return  # deleted, or made anew under the same name: its own event brings it back
        self._written[key] = (view.known.uid, status, now)
        self._tell(view.known, previous, status)

    def _patience(self, status: Status, previous: Mapping[str, Any]) -> float:
        """Seconds since the last write after which what has changed is worth the next one."""
        if urgent(status) != urgent(previous):
            return 0.0
        return NOTEWORTHY_SECONDS if noteworthy(status) != noteworthy(previous) else self._status_seconds

    def tell(self, known: KnownPool, notice: Notice) -> None:
        """An event about a pool."""
        self._events.emit(
            known.reference, notice.type, notice.reason, notice.message, notice.action, dedupe=notice.series
        )

    def _tell(self, known: KnownPool, previous: Mapping[str, Any], status: Status) -> None:
        """An event where trouble begins or changes, and one where it is over, whatever came in between."""
        before = {condition["type"]: condition for condition in previous.get("conditions") or ()}
        for condition in status["conditions"]:
            warned = (known.key, condition["type"])
            last = before.get(condition["type"])
            if _is_trouble(condition):
                self._warned.add(warned)
                if last is None or last["reason"] != condition["reason"]:
                    self._emit(known, "Warning", condition)
            elif condition["status"] == "True" and (warned in self._warned or _is_trouble(last)):
                self._warned.discard(warned)
                self._emit(known, "Normal", condition)

    def _emit(self, known: KnownPool, kind: str, condition: Mapping[str, Any]) -> None:
        action = ACTIONS[condition["type"]]
        self._events.emit(
            known.reference, kind, condition["reason"], condition["message"], action, dedupe=condition["type"]
        )


def _is_trouble(condition: Mapping[str, Any] | None) -> bool:
    """Whether a condition calls for somebody: a pool that starts, is pinned or paused does not."""
    if condition is None or condition["status"] != "False" or condition["type"] not in ACTIONS:
        return False
    if condition["type"] == "ScalingActive":
        return bool(condition["reason"] == Reason.FAILED_UPDATE_SCALE)
    return bool(condition["reason"] != Reason.PODS_STARTING)
