"""Tells people what is going on: the status within a budget of writes, an event for each change of a condition."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from celeriac import reasons
from celeriac.cluster.client import Api
from celeriac.cluster.errors import Conflict, NotFound
from celeriac.cluster.events import EventRecorder
from celeriac.metrics import Metrics
from celeriac.pool.model import PoolKey
from celeriac.resources.labels import selector
from celeriac.status import Status, View, build_status, noteworthy, urgent
from celeriac.store import KnownPool

NOTEWORTHY_SECONDS = 10.0
"""A reason that changed without a change of the replicas waits so long since the last write."""

ACTIONS = {"Ready": "Reconcile", "BrokerReachable": "ReadQueues"}
"""Conditions whose loss is worth an event of type Warning and whose return one of type Normal, with what was tried."""


class Budget:
    """A token bucket over all pools: `per_second` writes, bursts of as many."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._tokens = per_second
        self._filled_at = clock()

    def take(self) -> float:
        """Take a token; returns 0.0, or the seconds after which there will be one."""
        now = self._clock()
        self._tokens = min(self._per_second, self._tokens + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self._per_second


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

    def forget(self, key: PoolKey) -> None:
        """Forget a deleted pool."""
        self._written.pop(key, None)

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
        pause = max(0.0, written_at + self._patience(status, previous) - now) or self._budget.take()
        if pause:
            self._again(key, pause)
            return
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

    def scaled(self, known: KnownPool, before: int, after: int, message: str) -> None:
        """Tell of a performed change of the replicas; each pair of counts is a series of its own."""
        reason = reasons.SCALED_UP if after > before else reasons.SCALED_DOWN
        dedupe = f"{before}-{after}"
        self._events.emit(known.reference, "Normal", reason, message, "Scale", dedupe=dedupe)

    def _tell(self, known: KnownPool, previous: Mapping[str, Any], status: Status) -> None:
        before = {condition["type"]: condition for condition in previous.get("conditions") or ()}
        for condition in status["conditions"]:
            last = before.get(condition["type"], {})
            if condition["type"] not in ACTIONS or last.get("reason") == condition["reason"]:
                continue
            lost = condition["status"] == "False" and condition["reason"] != reasons.PODS_STARTING
            if lost or (condition["status"] == "True" and _was_lost(last)):
                self._events.emit(
                    known.reference,
                    "Warning" if lost else "Normal",
                    condition["reason"],
                    condition["message"],
                    ACTIONS[condition["type"]],
                    dedupe=condition["type"],
                )


def _was_lost(condition: Mapping[str, Any]) -> bool:
    return condition.get("status") == "False" and condition.get("reason") != reasons.PODS_STARTING
