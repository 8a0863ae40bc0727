"""The one owner of a pool's status: conditions with their times, the decision, counts; pure.

`build_status` makes the whole status; `urgent` tells which of its changes are worth an immediate write. Counts and
sentences ride along, because live numbers are metrics.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from celeriac.api.reasons import Reason
from celeriac.autoscaling.outcome import Outcome
from celeriac.cluster.times import parse_timestamp, timestamp
from celeriac.pool.layouts import layout_fields
from celeriac.pool.told_status import RESTARTS
from celeriac.reporting.conditions import conditions
from celeriac.reporting.obstacles import Obstacle
from celeriac.reporting.view import DRAINING, PODS_END, SCALING_LIMITED, WORKERS_RESPONDING, Condition, View
from celeriac.scaling.learning import Learned
from celeriac.scaling.workload import Demand

Status = dict[str, Any]

MESSAGE_LIMIT = 1024
ROUNDING = timedelta(seconds=2)
"""By which two tellings of one moment may differ."""
MOST = 2**53 - 1
"""What the CRD lets a number be: a broker may say any, and a status that is refused would stand still."""
_NUMBER = re.compile(r"\d+")
NAMING = frozenset({PODS_END, WORKERS_RESPONDING})
"""Conditions whose sentence names Pods, one after the other."""
PATIENT = {SCALING_LIMITED, DRAINING}
"""Conditions that come and go with every change of the load: many pools that shrink together must not hold up news."""


def build_status(
    view: View, previous: Mapping[str, Any], now: datetime, selector: str, overdue: Obstacle | None = None
) -> Status:
    """The status to write; `previous` is the last one, from which unchanged transition times are kept.

    `overdue` is the obstacle whose time is over (`celeriac.reporting.deadlines`).
    """
    deployment, outcome = view.deployment, view.outcome
    status: Status = {
        "observedGeneration": view.known.generation,
        "replicas": deployment.replicas if deployment else 0,
        "readyReplicas": deployment.ready if deployment else 0,
        "selector": selector,
        "conditions": _timed(conditions(view, overdue), previous, now, view.known.generation),
    }
    if view.operator:
        status["operator"] = view.operator
    layout = previous.get("learnedLayout") if outcome is None else outcome.layout and layout_fields(outcome.layout)
    if layout:
        status["learnedLayout"] = layout
    status |= _restarts(outcome, previous)
    if outcome is not None:
        status["desiredReplicas"] = outcome.decision.replicas
        if isinstance(outcome.demand, Demand):
            status["waiting"] = min(outcome.demand.waiting, MOST)
            status["running"] = min(outcome.demand.at_work, MOST)
            status["scheduled"] = min(outcome.demand.scheduled, MOST)
            status |= _learned(outcome, outcome.demand)
        if outcome.idle_seconds is not None:
            status |= _idle(view, outcome, outcome.idle_seconds, previous, now)
        status["decision"] = _decision(view, outcome, previous.get("decision") or {}, now, status.get("idleSince"))
    return status


def _restarts(outcome: Outcome | None, previous: Mapping[str, Any]) -> Status:
    """What the next leader has to know of workers that were started anew; while nobody is heard, as it was told."""
    if outcome is None or outcome.responses is None:
        told = {name: previous[name] for name in RESTARTS if previous.get(name)}
    elif outcome.healing is None:
        told = {}
    else:
        told = dict(zip(RESTARTS, (outcome.healing.tries, outcome.healing.vain), strict=True))
    return {name: count for name, count in told.items() if count}


def _learned(outcome: Outcome, demand: Demand) -> Status:
    """What only the agent's reports tell."""
    if outcome.workers is None:
        return {}
    known = {
        "reserved": outcome.workers.reserved,
        "heldElsewhere": demand.held_elsewhere,
        "deadLetters": outcome.dead_letters,
        "taskRuntimeSeconds": _rounded(demand.runtime_seconds, 3),
        **_counted(outcome.learned),
    }
    return {name: min(value, MOST) for name, value in known.items() if value is not None}


def _counted(learned: Learned | None) -> Status:
    """What the operator has seen of tasks and pods that came and went. Rounded, so that a rate comes to rest at 0."""
    if learned is None:
        return {}
    return {
        "oldestTaskSeconds": round(learned.oldest_seconds),
        "arrivalsPerSecond": _rounded(learned.arrival_rate, 2),
        "departuresPerSecond": _rounded(learned.departure_rate, 2),
        "coldStartSeconds": _rounded(learned.cold_start_seconds if learned.cold_starts else None, 1),
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def urgent(status: Mapping[str, Any]) -> tuple[Any, ...]:
    """The part of a status whose change is written at once."""
    return (
        status.get("observedGeneration"),
        status.get("operator"),
        status.get("learnedLayout"),
        *(status.get(name) for name in RESTARTS),
        _reasons(status, lambda type_: type_ not in PATIENT),
    )


def noteworthy(status: Mapping[str, Any]) -> tuple[Any, ...]:
    """The part whose change can wait some seconds.

    While a scale-down is held the desired count may be another with every tick, and a hundred pods that start are two
    hundred changes of the counts. The end of both is a change of a condition, and that is urgent. Another cause may
    have the reason of the one before: whoever has mended a URL wants to read what is wrong with it now. It is told by
    a sentence that differs in more than its numbers. Workers that fall silent, or get stuck, one after the other
    change the sentence of one that is there already, which names them.
    """
    decision = status.get("decision") or {}
    counts = [status.get(name) for name in ("replicas", "readyReplicas", "desiredReplicas", "idleSeconds")]
    conditions = status.get("conditions") or ()
    sentences = [_cause(c) for c in conditions if c["type"] not in PATIENT]
    return counts, decision.get("reason"), sentences, _reasons(status, lambda type_: type_ in PATIENT)


def _cause(condition: Mapping[str, Any]) -> str:
    message: str = condition["message"]
    return message if condition["type"] in NAMING and condition["status"] == "False" else _NUMBER.sub("", message)


def _reasons(status: Mapping[str, Any], wanted: Callable[[str], bool]) -> tuple[tuple[str, str, str], ...]:
    conditions = status.get("conditions") or ()
    return tuple(sorted((c["type"], c["status"], c["reason"]) for c in conditions if wanted(c["type"])))


def _timed(
    wanted: Iterable[Condition], previous: Mapping[str, Any], now: datetime, generation: int
) -> list[dict[str, Any]]:
    before = {condition["type"]: condition for condition in previous.get("conditions") or ()}
    timed = []
    for condition in wanted:
        last = before.get(condition.type, {})
        kept = last.get("lastTransitionTime") if last.get("status") == condition.status else None
        timed.append(
            {
                "type": condition.type,
                "status": condition.status,
                "reason": condition.reason,
                "message": condition.message[:MESSAGE_LIMIT],
                "lastTransitionTime": kept or timestamp(now),
                "observedGeneration": generation,
            }
        )
    return timed


def _decision(
    view: View, outcome: Outcome, previous: Mapping[str, Any], now: datetime, idle_since: str | None
) -> dict[str, Any]:
    """The decision's time is that of its reason; the sentence may change its numbers meanwhile.

    What will happen at a moment is told by that moment: a status is read later than it is written.
    """
    time = previous.get("time") if previous.get("reason") == outcome.reason else None
    message = outcome.message[:MESSAGE_LIMIT]
    if outcome.reason == Reason.ZERO_PENDING and idle_since is not None and view.policy is not None:
        since = now - timedelta(seconds=outcome.idle_seconds or 0.0)
        if abs((told := parse_timestamp(idle_since)) - since) < ROUNDING:
            since = told
        due = since + timedelta(seconds=view.policy.scale_to_zero_after_seconds)
        message = f"{message}: at {timestamp(due)}"
    return {"reason": outcome.reason, "message": message, "time": time or timestamp(now)}


def _idle(view: View, outcome: Outcome, seconds: float, previous: Mapping[str, Any], now: datetime) -> Status:
    """For how long nothing was to be done: a moment for people, and a duration that the next leader counts on from.

    The moment is one of the clock that the leader had which saw idleness begin. The duration needs no clock. It is told
    in two steps, so that an idle pool costs one write more, and at zero it means nothing.
    """
    idle: Status = {"idleSince": _idle_since(seconds, previous.get("idleSince"), now, before=outcome.idle_before)}
    if view.policy is not None and view.wanted:
        longest = view.policy.scale_to_zero_after_seconds
        idle["idleSeconds"] = next((part for part in (longest, longest / 2) if seconds >= part), 0)
    return idle


def _idle_since(seconds: float, previous: str | None, now: datetime, *, before: bool) -> str:
    """The moment idleness began; a difference of a second to the last one is rounding, not news."""
    since = now - timedelta(seconds=seconds)
    if previous is not None and (before or abs(parse_timestamp(previous) - since) < ROUNDING):
        return previous
    return timestamp(since)
