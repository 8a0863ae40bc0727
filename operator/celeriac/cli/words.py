"""A CeleryWorkerPool in words, from its own spec and status; pure."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from celeriac.api.words import foreign
from celeriac.pool.told_status import told_status

UNKNOWN = "-"
_MOMENT: Final = re.compile(r"(?P<at>\bat )?(?P<moment>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)")
"""A time of the API in a sentence."""
EVENTS = 10
UNSEEN = "the operator has not looked at it yet: is it running, and does it watch this namespace?"

# Conditions that ought to hold, and some that ought not; the others only inform.
ASIDE = ("BrokerDurable", "WorkersResponding", "DrainLongEnough", "LateTasksSafe", "PodsEnd")
"""Those that ought to hold, are no part of Ready and hold no decision."""
WANTED = ("Ready", "BrokerReachable", "ScalingActive", *ASIDE)
ABNORMAL = ("Stalled", "AgentDegraded", "QueueLooksMisspelled")
UNDER_WAY = ("Creating", "PodsStarting", "RollingOut")
"""Reasons of a pool that is not Ready and calls for nobody: its last decision says more."""

MEANT = (*UNDER_WAY, "Pinned", "Paused", "DryRun")
"""Reasons of conditions that do not hold, and call for nobody: somebody has asked for it, or it takes its time."""

NO_ROOM = ("QuotaExceeded", "Unschedulable")
"""Reasons of ScalingLimited that are the cluster's, not the pool's."""

MODES = {
    "DryRun": "DryRun: decisions are reported here and not acted upon (spec.scaling.mode)",
    "Paused": "Paused: the replicas are left alone (kubectl celery unpause {name})",
}


def pools_table(pools: list[dict[str, Any]], now: datetime, *, with_namespace: bool, wide: bool = False) -> Table:
    """One line for each pool, like a kubectl table; `wide`: with its queues and its mode."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in (*(("NAMESPACE",) if with_namespace else ()), "NAME", "POOL"):
        table.add_column(column, no_wrap=True)
    for column in ("WAITING", "RUNNING", "READY/DESIRED"):
        table.add_column(column, justify="right", no_wrap=True)
    for column in ("QUEUES", "MODE") if wide else ():
        table.add_column(column, no_wrap=True)
    table.add_column("WHY", overflow="fold")
    for pool in sorted(pools, key=lambda body: (body["metadata"]["namespace"], body["metadata"]["name"])):
        metadata, status = pool["metadata"], told_status(pool.get("status"))[0]
        namespace = (metadata["namespace"],) if with_namespace else ()
        counts = (_count(status, "waiting"), _count(status, "running"), _replicas(status))
        more = (",".join(pool["spec"].get("queues", ())), _mode(pool)) if wide else ()
        table.add_row(*namespace, metadata["name"], pool["spec"]["pool"], *counts, *more, Text(why(pool, now)))
    return table


def why(pool: Mapping[str, Any], now: datetime) -> str:
    """One sentence: what is wrong if something is, else the last decision."""
    return as_read(_why(pool), now)


def _why(pool: Mapping[str, Any]) -> str:
    status, _ = told_status(pool.get("status"))
    conditions = status.get("conditions") or ()
    ready = next((item for item in conditions if item["type"] == "Ready"), None)
    decision = status.get("decision")
    if ready is not None and ready["status"] == "False" and not (decision and ready["reason"] in UNDER_WAY):
        return f"{ready['reason']}: {ready['message']}"
    limited = next((item for item in conditions if item["type"] == "ScalingLimited"), None)
    if limited is not None and limited["reason"] in NO_ROOM:
        return f"{limited['reason']}: {limited['message']}"
    if decision:
        aside = ", ".join(_aside(conditions))
        more = f" ({aside}: kubectl celery why {pool['metadata']['name']})" if aside else ""
        return f"{decision['message']}{more}"
    return str(ready["message"]) if ready else UNSEEN


def _aside(conditions: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """What is wrong with a pool that works all the same, in one word each."""
    for item in conditions:
        if item["type"] in ASIDE and item["status"] == "False":
            yield item["reason"]
        elif item["type"] in ("AgentDegraded", "QueueLooksMisspelled") and item["status"] == "True":
            yield item["type"]


def _mode(pool: Mapping[str, Any]) -> str:
    pinned = pool["spec"].get("replicas")
    return f"Pinned {pinned}" if pinned is not None else str((pool["spec"].get("scaling") or {}).get("mode", "Auto"))


def explanation(pool: Mapping[str, Any], now: datetime, events: Sequence[Mapping[str, Any]] = ()) -> Iterator[str]:
    """What the status of a pool says, line by line, and what happened to it lately."""
    spec, status, name = pool["spec"], told_status(pool.get("status"))[0], pool["metadata"]["name"]
    slots = 1 if spec["pool"] == "solo" else spec.get("concurrency", 4)
    yield f"{name} in namespace {pool['metadata']['namespace']}: {_replicas(status)} replicas (ready/desired)"
    yield f"  {spec['pool']} with {slots} task(s) per pod, queues {', '.join(spec.get('queues', ()))}"
    if not status or status.get("observedGeneration") == -1:  # the default that the CRD gives
        yield f"  {UNSEEN}"
        yield from _hand(pool, name)
        return
    counts = ", ".join(f"{_count(status, field)} {field}" for field in ("waiting", "running", "scheduled"))
    yield f"  tasks: {counts}"
    if status.get("observedGeneration") != pool["metadata"].get("generation"):
        yield "  the operator has not seen the latest change of the spec yet"
    yield ""
    yield from _decision(status, now)
    yield from _hand(pool, name)
    yield ""
    yield "Conditions"
    for condition in status.get("conditions") or ():
        yield _condition(condition, now)
    if events:
        yield ""
        yield "Events, the latest last"
    for event in events[-EVENTS:]:
        when = ago(event_time(event), now)
        message = as_read(foreign(event.get("message") or "", 1000), now)
        yield f"  {event.get('type')} {event.get('reason')} ({when}): {message}"


def event_time(event: Mapping[str, Any]) -> str:
    """When it was last seen, as the API writes times; whichever of its fields tells."""
    series = event.get("series") or {}
    told = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return str(told or event["metadata"].get("creationTimestamp", ""))


def ago(moment: str | None, now: datetime) -> str:
    """A metav1.Time as `3 min ago`."""
    if not moment:
        return "at an unknown time"
    return f"{_span(max(0, int((now - datetime.fromisoformat(moment)).total_seconds())))} ago"


def as_read(text: str, now: datetime) -> str:
    """A sentence with its moments as they are to whoever reads it at `now`: `at ...` becomes `in 41 s, at ...`."""
    return _MOMENT.sub(lambda found: _as_read(found, now), text)


def _as_read(found: re.Match[str], now: datetime) -> str:
    moment = found["moment"]
    try:
        ahead = (datetime.fromisoformat(moment) - now).total_seconds()
    except ValueError:
        return found[0]
    if ahead < 0:
        return f"{found[0]} ({ago(moment, now)})"
    return f"in {_span(round(ahead))}, at {moment}" if found["at"] else f"{moment} (in {_span(round(ahead))})"


def _span(seconds: int) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _decision(status: Mapping[str, Any], now: datetime) -> Iterator[str]:
    decision = status.get("decision")
    if not decision:
        yield "No decision yet"
        return
    yield f"Decision: {decision['reason']}, first {ago(decision.get('time'), now)}"
    yield f"  {as_read(decision['message'], now)}"
    if status.get("idleSince"):
        yield f"  nothing to do since {status['idleSince']} ({ago(status['idleSince'], now)})"


def _hand(pool: Mapping[str, Any], name: str) -> Iterator[str]:
    """What somebody has set by hand."""
    pinned, mode = pool["spec"].get("replicas"), (pool["spec"].get("scaling") or {}).get("mode", "Auto")
    if pinned is not None:
        yield f"  pinned to {pinned} by spec.replicas; min and max do not apply (kubectl celery resume {name})"
    if mode in MODES:
        yield f"  {MODES[mode].format(name=name)}"


def _condition(condition: Mapping[str, Any], now: datetime) -> str:
    mark = "  "
    if condition["type"] in WANTED and condition["status"] == "Unknown":
        mark = "? "
    if condition["type"] in WANTED and condition["status"] == "False" and condition["reason"] not in MEANT:
        mark = "! "
    if condition["type"] in ABNORMAL and condition["status"] == "True":
        mark = "! "
    since = ago(condition.get("lastTransitionTime"), now)
    message = as_read(condition["message"], now)
    return f"{mark}{condition['type']} {condition['status']}, {condition['reason']} ({since}): {message}"


def _replicas(status: Mapping[str, Any]) -> str:
    return f"{_count(status, 'readyReplicas')}/{_count(status, 'desiredReplicas')}"


def _count(status: Mapping[str, Any], field: str) -> str:
    return str(status.get(field, UNKNOWN))
