"""The answers of the operator in words and tables; pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from rich.table import Table

from celeriac.cli.printing import printable
from celeriac.cli.words import event_time

UNKNOWN: Final = "-"
SHOWN_DECISIONS: Final = 10
SCALINGS: Final = ("ScaledUp", "ScaledDown")
"""Reasons of the events that tell from how many replicas to how many, and why."""
STEPS: Final = {
    "target": "target",
    "tolerance": "tolerance",
    "stabilization": "stabilization window",
    "rate": "rate (behavior)",
    "bounds": "minReplicas, maxReplicas",
    "zero": "scale to zero",
}

Found = Mapping[str, Any]


def table(columns: Sequence[tuple[str, str]], rows: Iterable[Mapping[str, Any]]) -> Table:
    """Columns as (heading, key); numbers stand to the right."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    cells = [[_cell(row.get(key)) for _, key in columns] for row in rows]
    for number, (heading, _) in enumerate(columns):
        is_text = any(not _is_number(row[number]) for row in cells)
        last = number == len(columns) - 1
        made.add_column(heading, justify="left" if is_text else "right", no_wrap=not last, overflow="fold")
    for row in cells:
        made.add_row(*row)
    return made


def _cell(value: Any) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:.3g}" if isinstance(value, float) else printable(str(value))


def _is_number(text: str) -> bool:
    return text == UNKNOWN or text.replace(".", "", 1).replace("e+", "", 1).isdigit()


TOP: Final = (
    ("NAME", "name"),
    ("WAITING", "waiting"),
    ("RUNNING", "running"),
    ("REPLICAS", "replicas"),
    ("DESIRED", "desired"),
    ("DRAINING", "draining"),
    ("IN/S", "arrivalsPerSecond"),
    ("OUT/S", "departuresPerSecond"),
    ("RUNTIME", "taskRuntimeSeconds"),
    ("OLDEST", "oldestTaskSeconds"),
    ("REASON", "reason"),
)
TOP_WIDE: Final = (*TOP, ("WHY", "message"))
QUEUES: Final = (
    ("QUEUE", "name"),
    ("WAITING", "waiting"),
    ("HELD", "held"),
    ("SCHEDULED", "scheduled"),
    ("DEFERRED", "deferred"),
    ("DEAD", "dead"),
)
LETTERS: Final = (("ID", "id"), ("TASK", "task"), ("WHY", "reason"))


def explained(found: Found, now: datetime) -> Iterator[str]:
    """How a decision came about, step by step, what it waits for, and what would change it."""
    yield f"Decision: {found['reason']}, {found['replicas']} -> {found['desired']} replicas"
    yield f"  {found['message']}"
    if found.get("held"):
        yield f"  it is held back; decided was: {found['decision']}"
    yield ""
    if "read" in found:
        yield "Read"
        yield from (f"  {line}" for line in _read(found["read"]))
        yield ""
    yield from _steps(found)
    yield "What would change it"
    changes = list(_changes(found, now))
    yield from (f"  {line}" for line in changes or ["nothing within reach of the demand, nor time alone"])
    yield ""
    yield "Decisions before, the latest first"
    decisions = list(reversed(found["decisions"]))
    yield from (f"  {decided(each)}" for each in decisions[:SHOWN_DECISIONS])
    if len(decisions) > SHOWN_DECISIONS:
        yield f"  and {len(decisions) - SHOWN_DECISIONS} more: --at TIME, or -o json"


def _read(read: Found) -> Iterator[str]:
    yield f"{read['waiting']} waiting, {read['running']} running" + (
        f", {read['ending']} in pods that end" if read["ending"] else ""
    )
    for key, words in (
        ("scheduled", "held by workers until their ETA"),
        ("deferred", "in the queues with an ETA ahead"),
        ("held_elsewhere", "held by workers outside of the pool"),
    ):
        if read[key]:
            yield f"{read[key]} {words}"
    runtime = "not known yet" if read["runtime_seconds"] is None else f"{read['runtime_seconds']:.3g} s"
    arrivals, start = f"{read['arrival_rate']:.3g}/s", f"{read['cold_start_seconds']:.3g} s"
    yield f"arrivals {arrivals}, runtime of a task {runtime}, start of a pod {start}"
    if not read["exact"]:
        yield "what is held is an estimate: nothing is taken to be idle"
    if read["refused"]:
        yield "the broker refuses writes: no replica is removed"


def _steps(found: Found) -> Iterator[str]:
    if "steps" not in found:
        return
    policy = found["policy"]
    target = ", ".join(f"{name} {value:g}" for name, value in policy["target"].items())
    bounds = f"{policy['minReplicas']} to {policy['maxReplicas']} replicas"
    yield f"Steps ({target}; {bounds}, {_tasks(policy['slots'])} each)"
    for step in found["steps"]:
        words = step["message"] or "changes nothing"
        yield f"  {STEPS[step['name']]:<25} {step['replicas']:>5}  {words}"
    yield ""


def _changes(found: Found, now: datetime) -> Iterator[str]:
    waiting = found.get("read", {}).get("waiting", 0)
    if more := found.get("more"):
        yield f"{_tasks(more['tasks'])} more waiting: {_replicas(more['replicas'])} ({more['reason']})"
    if fewer := found.get("fewer"):
        number = -fewer["tasks"]
        what = "fewer waiting" if number <= waiting else "fewer, of those that wait and run"
        yield f"{_tasks(number)} {what}: {_replicas(fewer['replicas'])} ({fewer['reason']})"
    if later := found.get("later"):
        at = now + timedelta(seconds=later["seconds"])
        words = f"in {later['seconds']:.0f} s, at {at:%H:%M:%SZ}, with the load as it is"
        yield f"{words}: {_replicas(later['replicas'])} ({later['reason']})"


def _tasks(number: int) -> str:
    return f"{number} task" if number == 1 else f"{number} tasks"


def _replicas(number: int) -> str:
    return f"{number} replica" if number == 1 else f"{number} replicas"


def decided(entry: Found) -> str:
    """One decision of the past in a line."""
    load = "load unknown" if entry["waiting"] is None else f"{entry['waiting']} waiting, {entry['running']} running"
    counts = f"{entry['replicas']} -> {entry['desired']}"
    return f"{entry['at']}  {counts:<9} {entry['reason']} ({load}): {entry['message']}"


def scaling_at(events: Sequence[Found], moment: datetime) -> str | None:
    """The last scaling that events tell of by then, in a line; None where they tell of none.

    One that came again is one event, with the moments of the first and of the last time.
    """
    told = [
        (at, event["message"])
        for event in events
        if event.get("reason") in SCALINGS
        for at in (event.get("firstTimestamp"), event_time(event))
        if at and datetime.fromisoformat(at) <= moment
    ]
    at, message = max(told, key=lambda each: datetime.fromisoformat(each[0]), default=("", ""))
    return f"{at}  {printable(message)}" if at else None


def decision_at(entries: Sequence[Found], moment: datetime) -> Found | None:
    """The last decision that was made by then; None where none is remembered."""
    before = [each for each in entries if datetime.fromisoformat(each["at"]) <= moment]
    return before[-1] if before else None
