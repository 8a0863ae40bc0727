"""When a pool's status is written, and which of its changes are events; in virtual time, it writes nothing itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from celeriac.api.keys import PoolKey
from celeriac.api.notices import EventType, Notice
from celeriac.api.reasons import Reason
from celeriac.reporting.conditions import View
from celeriac.reporting.status import Status, build_status, noteworthy, urgent
from celeriac.resources.labels import selector

NOTEWORTHY_SECONDS: Final = 10.0
"""A reason that changed without a change of the replicas waits so long since the last write."""

ACTIONS: Final = {"Ready": "Reconcile", "BrokerReachable": "ReadQueues", "ScalingActive": "Scale"}
"""Conditions whose loss is worth an event of type Warning and whose return one of type Normal, with what was tried."""


class Budget:
    """Slots for writes over all pools: `per_second` of them, bursts of as many. Each caller gets one of its own."""

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second
        self._burst_seconds = 1 - self._interval
        self._next = float("-inf")

    def reserve(self, now: float) -> float:
        """Take the next free slot; returns the moment from which it may be used."""
        slot = max(now, self._next - self._burst_seconds)
        self._next = max(now, self._next) + self._interval
        return slot


@dataclass(frozen=True, slots=True)
class StatusStep:
    """What is to be done about one pool's status.

    status         as it is now
    write          whether it is to be written now
    again_seconds  after which to look again
    """

    status: Status
    write: bool
    again_seconds: float


@dataclass(frozen=True, slots=True)
class _Written:
    """The last status of a pool of that uid, and when it was written (monotonic seconds)."""

    uid: str
    status: Mapping[str, Any]
    at: float = float("-inf")


class StatusBook:
    """Remembers what was written: an urgent change goes at once, counts and sentences every `status_seconds`.

    All of it stays within the budget. `now` is in monotonic seconds.
    """

    def __init__(self, budget: Budget, status_seconds: float) -> None:
        self._budget = budget
        self._status_seconds = status_seconds
        self._written: dict[PoolKey, _Written] = {}
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

    def step(self, view: View, moment: datetime, now: float) -> StatusStep:
        """Build the status at the time `moment`, and say whether it is to be written now."""
        key, last = view.known.key, self._last(view)
        status = build_status(view, last.status, moment, selector(key.name))
        due = last.at + self._patience(status, last.status)
        if status == last.status or due > now:
            self._slots.pop(key, None)  # a slot is for the write that asked for it, not for one some day
            again = self._status_seconds if status == last.status else due - now
            return StatusStep(status, False, min(again, self._status_seconds))
        if key not in self._slots:
            self._slots[key] = self._budget.reserve(now)
        slot = self._slots[key]
        if slot > now:
            return StatusStep(status, False, min(slot - now, self._status_seconds))
        del self._slots[key]
        return StatusStep(status, True, self._status_seconds)

    def written(self, view: View, status: Status, now: float) -> list[Notice]:
        """Take over that the status was written; returns what of it is worth an event."""
        key, last = view.known.key, self._last(view)
        self._written[key] = _Written(view.known.uid, status, now)
        return self._news(key, last.status, status)

    def _last(self, view: View) -> _Written:
        """What was written last of this very pool; else what the API server has of it."""
        last = self._written.get(view.known.key)
        return last if last is not None and last.uid == view.known.uid else _Written(view.known.uid, view.known.status)

    def _patience(self, status: Status, previous: Mapping[str, Any]) -> float:
        """Seconds since the last write after which what has changed is worth the next one."""
        if urgent(status) != urgent(previous):
            return 0.0
        return NOTEWORTHY_SECONDS if noteworthy(status) != noteworthy(previous) else self._status_seconds

    def _news(self, key: PoolKey, previous: Mapping[str, Any], status: Status) -> list[Notice]:
        """An event where trouble begins or changes, and one where it is over, whatever came in between."""
        before = {condition["type"]: condition for condition in previous.get("conditions") or ()}
        news = []
        for condition in status["conditions"]:
            warned = (key, condition["type"])
            last = before.get(condition["type"])
            if _is_trouble(condition):
                self._warned.add(warned)
                if last is None or last["reason"] != condition["reason"]:
                    news.append(_notice(key, "Warning", condition))
            elif condition["status"] == "True" and (warned in self._warned or _is_trouble(last)):
                self._warned.discard(warned)
                news.append(_notice(key, "Normal", condition))
        return news


def _notice(key: PoolKey, type_: EventType, condition: Mapping[str, Any]) -> Notice:
    """The series is the condition's type, the action what was tried."""
    name = condition["type"]
    return Notice(key, type_, condition["reason"], condition["message"], name, ACTIONS[name])


def _is_trouble(condition: Mapping[str, Any] | None) -> bool:
    """Whether a condition calls for somebody: a pool that starts, is pinned or paused does not."""
    if condition is None or condition["status"] != "False" or condition["type"] not in ACTIONS:
        return False
    if condition["type"] == "ScalingActive":
        return bool(condition["reason"] == Reason.FAILED_UPDATE_SCALE)
    return bool(condition["reason"] != Reason.PODS_STARTING)
