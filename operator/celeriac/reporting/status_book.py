"""When a pool's status is written, and which of its changes are events; in virtual time, it writes nothing itself."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from celeriac.api.keys import PoolKey
from celeriac.api.notices import EventType, Notice
from celeriac.api.reasons import Reason
from celeriac.reporting.deadlines import Deadlines
from celeriac.reporting.foreign_writes import ForeignWrites
from celeriac.reporting.obstacles import LIMITS, obstacles
from celeriac.reporting.status import Status, build_status, noteworthy, urgent
from celeriac.reporting.view import (
    AGENT_DEGRADED,
    BROKER_DURABLE,
    BROKER_REACHABLE,
    DRAIN_LONG_ENOUGH,
    LATE_TASKS_SAFE,
    PODS_END,
    QUEUE_LOOKS_MISSPELLED,
    READY,
    SCALING_ACTIVE,
    SCALING_LIMITED,
    WORKERS_RESPONDING,
    View,
    is_asleep,
    slept,
)
from celeriac.resources.labels import selector

NOTEWORTHY_SECONDS: Final = 10.0
"""A reason that changed without a change of the replicas waits so long since the last write."""

ASLEEP_SECONDS: Final = 300.0
"""A pool that sleeps is looked at this often: it wakes by a decision, which is news."""

ACTIONS: Final = {
    READY: "Reconcile",
    BROKER_REACHABLE: "ReadQueues",
    BROKER_DURABLE: "ReadQueues",
    WORKERS_RESPONDING: "ReadReports",
    AGENT_DEGRADED: "ReadReports",
    SCALING_ACTIVE: "Scale",
    SCALING_LIMITED: "Scale",
    DRAIN_LONG_ENOUGH: "ReadReports",
    LATE_TASKS_SAFE: "ReadReports",
    PODS_END: "WatchPods",
    QUEUE_LOOKS_MISSPELLED: "ReadQueues",
}
"""Conditions whose trouble is worth an event of type Warning and its end one of type Normal, with what was tried."""
TOLD: Final = frozenset({Reason.TASK_COUNTS_UNREADABLE})
"""Reasons whose beginning is an event of whoever finds it: it may begin under another reason of the condition."""
UNDER_WAY: Final = frozenset({Reason.CREATING, Reason.PODS_STARTING, Reason.ROLLING_OUT})
"""Reasons of a pool that is not Ready and calls for nobody."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A write may happen from the moment `at` on. One that is not urgent gives way to urgent ones that come first."""

    at: float
    is_urgent: bool


class Budget:
    """Turns for writes over all pools: `per_second` of them, bursts of as many.

    An urgent turn is taken when it is given, so that urgent writes wait for each other only. All others stand in a
    line of their own, `patient_per_second` and without bursts, and get what is left.
    """

    def __init__(self, per_second: float, patient_per_second: float | None = None) -> None:
        """`patient_per_second`: as many as of all, by default."""
        self._interval = 1 / per_second
        self._patient_interval = 1 / min(patient_per_second or per_second, per_second)
        self._burst_seconds = 1 - self._interval
        self._taken_until = float("-inf")
        self._end_of_line = float("-inf")

    def turn(self, now: float, *, is_urgent: bool) -> Turn:
        """The next turn of its kind; each caller gets one of its own."""
        free = self._free_at(now)
        if is_urgent:
            self._take(now)
            return Turn(free, is_urgent)
        at = max(free, self._end_of_line)
        self._end_of_line = at + self._patient_interval
        return Turn(at, is_urgent)

    def use(self, turn: Turn, now: float) -> bool:
        """Whether the write may happen now. A turn that has come and gave way is lost: ask for another."""
        if now < turn.at:
            return False
        if not turn.is_urgent:
            if self._free_at(now) > now:
                return False
            self._take(now)
        return True

    def _free_at(self, now: float) -> float:
        return max(now, self._taken_until - self._burst_seconds)

    def _take(self, now: float) -> None:
        self._taken_until = max(now, self._taken_until) + self._interval


@dataclass(frozen=True, slots=True)
class StatusStep:
    """What is to be done about one pool's status.

    status         as it is now
    write          whether it is to be written now
    again_seconds  after which to look again
    foreign        whether somebody else wrote what is there
    """

    status: Status
    write: bool
    again_seconds: float
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class _Written:
    """The last status of a pool of that uid, and when it was written (monotonic seconds)."""

    uid: str
    status: Mapping[str, Any]
    at: float = float("-inf")


class StatusBook:
    """Remembers what was written: an urgent change goes first, counts and sentences every `status_seconds`.

    All of it stays within the budget. `now` is in monotonic seconds.
    """

    def __init__(self, budget: Budget, status_seconds: float, operator: str = "") -> None:
        """`operator` is whose the pools are, where several operators share a cluster."""
        self._operator = operator
        self._budget = budget
        self._status_seconds = status_seconds
        self._deadlines = Deadlines()
        self._foreign = ForeignWrites()
        self._written: dict[PoolKey, _Written] = {}
        self._turns: dict[PoolKey, Turn] = {}
        self._warned: set[tuple[PoolKey, str]] = set()

    def forget(self, key: PoolKey) -> None:
        """Forget a deleted pool."""
        self._deadlines.forget(key)
        self._foreign.forget(key)
        self._written.pop(key, None)
        self._turns.pop(key, None)
        self._warned = {(warned, type_) for warned, type_ in self._warned if warned != key}

    def forget_all(self) -> None:
        """Trust nothing that was written: another replica of the operator may have written since."""
        self._deadlines.forget_all()
        self._foreign.forget_all()
        self._written.clear()
        self._turns.clear()

    def step(self, view: View, moment: datetime, now: float) -> StatusStep:
        """Build the status at the time `moment`, and say whether it is to be written now."""
        key, last = view.known.key, self._last(view)
        view = replace(view, slept=slept(last.status), operator=self._operator)
        deadline = self._deadlines.step(view.known, obstacles(view), last.status, moment, now)
        status = build_status(view, last.status, moment, selector(key.name), deadline.overdue)
        is_quiet = status == last.status and is_asleep(status)
        usual = max(ASLEEP_SECONDS, self._status_seconds) if is_quiet else self._status_seconds
        longest = min(usual, deadline.again_seconds)
        patience = self._patience(status, last.status)
        due = math.inf if status == last.status else last.at + patience
        foreign = self._foreign.seconds_left(view.known, last.status, now)
        if foreign is not None:
            due = min(due, now + foreign)
        if due > now:
            self._turns.pop(key, None)  # a turn is for the write that asked for it, not for one some day
            return StatusStep(status, False, min(due - now, longest))
        waits = self._wait(key, now, is_urgent=not patience)
        return StatusStep(status, not waits, min(waits or longest, longest), foreign is not None and foreign <= 0)

    def _wait(self, key: PoolKey, now: float, *, is_urgent: bool) -> float:
        """Seconds until a write that is due may happen; 0 where it is to happen now."""
        turn = self._turns.pop(key, None)
        if turn is None or (is_urgent and not turn.is_urgent):
            turn = self._budget.turn(now, is_urgent=is_urgent)
        if self._budget.use(turn, now):
            return 0.0
        if turn.at <= now:
            turn = self._budget.turn(now, is_urgent=is_urgent)
        self._turns[key] = turn
        return turn.at - now

    def written(self, view: View, status: Status, now: float) -> list[Notice]:
        """Take over that the status was written; returns what of it is worth an event."""
        key, last = view.known.key, self._last(view)
        self._written[key] = _Written(view.known.uid, status, now)
        self._foreign.written(view.known)
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
        """An event where trouble begins or changes, and one where it is over, whatever came in between.

        What several conditions say in the same words is one event.
        """
        before = {condition["type"]: condition for condition in previous.get("conditions") or ()}
        news = []
        for condition in status["conditions"]:
            warned = (key, condition["type"])
            last = before.get(condition["type"])
            if _is_trouble(condition):
                self._warned.add(warned)
                if condition["reason"] not in TOLD and (last is None or last["reason"] != condition["reason"]):
                    news.append(_notice(key, "Warning", condition))
            elif _is_well(condition) and (warned in self._warned or _is_trouble(last)):
                self._warned.discard(warned)
                news.append(_notice(key, "Normal", condition))
        return list({(each.type, each.reason, each.message): each for each in reversed(news)}.values())[::-1]


def _notice(key: PoolKey, type_: EventType, condition: Mapping[str, Any]) -> Notice:
    """The series is the condition's type, the action what was tried."""
    name = condition["type"]
    return Notice(key, type_, condition["reason"], condition["message"], name, ACTIONS[name])


def _is_trouble(condition: Mapping[str, Any] | None) -> bool:
    """Whether a condition calls for somebody: a pool that starts, is pinned or paused does not."""
    if condition is None or condition["type"] not in ACTIONS:
        return False
    type_, status, reason = condition["type"], condition["status"], condition["reason"]
    if type_ == SCALING_LIMITED:
        return bool(status == "True" and reason in LIMITS)
    if type_ in (AGENT_DEGRADED, QUEUE_LOOKS_MISSPELLED):
        return bool(status == "True")
    if type_ == SCALING_ACTIVE:
        return bool(status == "False" and reason in (Reason.FAILED_UPDATE_SCALE, Reason.ANOTHER_WRITER))
    return bool(status == "False" and reason not in UNDER_WAY)


def _is_well(condition: Mapping[str, Any]) -> bool:
    """Whether a condition of these tells that trouble is over."""
    return bool(condition["status"] == ("False" if condition["type"] in (SCALING_LIMITED, AGENT_DEGRADED) else "True"))
