"""Reports of agents and drain marks, from the hashes of a pool to values. What is no report is as good as missing."""

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from celeriac.brokers.agents import WorkerReport
from celeriac.brokers.redis.json_fields import JsonFields, WrongField
from celeriac.pool.model import QueueLayout

T = TypeVar("T")

VERSION = 1
LONGEST_REPORT = 16_384
"""Bytes; one has some 700."""
SOFTWARE = {"celery": "Celery", "kombu": "kombu", "redis": "redis-py", "python": "Python"}
NAMED_TASKS = 5
MOST_TASKS = 10**9
"""That a worker holds, has slots for, or failed in: the sums over a pool stay within what a status may tell."""
_REFUSED = re.compile(r"[A-Z]{1,16}|~[!-~]{1,64}")
_WORD = re.compile(r"[A-Z][A-Z0-9]{1,19}")
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+-]{0,31}")
STATES = frozenset({"starting", "consuming", "disconnected", "draining", "drained", "stopping"})


class Reports:
    """Reads the reports of one pool. Readings are more frequent than reports: the same text is not parsed twice."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[int, WorkerReport | None]] = {}

    @property
    def unreadable(self) -> frozenset[str]:
        """Pod uids whose report, as last read, cannot be understood."""
        return frozenset(uid for uid, (_, report) in self._read.items() if report is None)

    def read(self, texts: Mapping[str, bytes | None]) -> dict[str, WorkerReport]:
        """By pod uid, all that can be understood. Of a text only its hash is kept."""
        before = self._read
        self._read = {
            uid: last if (last := before.get(uid)) and last[0] == hash(text) else (hash(text), report_of(uid, text))
            for uid, text in texts.items()
            if text is not None
        }
        return {uid: report for uid, (_, report) in self._read.items() if report is not None}


def report_of(pod_uid: str, text: bytes) -> WorkerReport | None:
    """Read one report; None for one that is malformed, too long, or of another version of the protocol."""
    if len(text) > LONGEST_REPORT:
        return None
    try:
        fields = JsonFields(text)
        if fields.count("v") != VERSION or fields.text("state") not in STATES:
            return None
        return _report(pod_uid, fields)
    except WrongField:
        return None


def marks_of(entries: Mapping[bytes, bytes]) -> dict[str, str]:
    """Drain tokens by pod uid."""
    return {pod_uid.decode(errors="replace"): token.decode(errors="replace") for pod_uid, token in entries.items()}


def _report(pod_uid: str, fields: JsonFields) -> WorkerReport:
    return WorkerReport(
        pod_uid=pod_uid,
        process=fields.text("process"),
        counter=fields.count("n"),
        state=fields.text("state"),
        token=fields.text_or_none("token"),
        active=fields.count("active", MOST_TASKS),
        reserved=fields.count("reserved", MOST_TASKS),
        scheduled=fields.count("scheduled", MOST_TASKS),
        processed=fields.count("processed"),
        busy_seconds=fields.number("busy"),
        slots=fields.count("slots", MOST_TASKS),
        pool_class=fields.text("pool"),
        queues=fields.texts("queues"),
        capabilities=frozenset(fields.texts("capabilities")),
        missing=fields.texts("missing"),
        signals=fields.flag_or_none("signals"),
        errors=fields.count("errors", MOST_TASKS),
        init=_if_said(fields.text, "init") or "",
        level=_if_said(fields.text, "level") or "drain",
        versions=_versions(fields),
        limited=fields.count_or("limited", 0, MOST_TASKS),
        delivered=fields.count_or("delivered", 0),
        counted=fields.count_or("counted", 0),
        layout=_layout(fields),
        time_limit=_if_said(fields.number, "timeLimit"),
        acks_late=_if_said(fields.flag_or_none, "acksLate"),
        at_risk=_if_said(fields.count, "lostWithChild") or 0,
        tasks_at_risk=(_if_said(fields.texts, "tasksLostWithChild") or ())[:NAMED_TASKS],
        refusal=_word(_if_said(fields.text, "refusal") or ""),
        refused=tuple(filter(_REFUSED.fullmatch, _if_said(fields.texts, "refused") or ())),
    )


def _layout(fields: JsonFields) -> QueueLayout | None:
    """What earlier releases do not say, and what is odd, is not said."""
    separator, steps = _if_said(fields.text, "separator"), _if_said(fields.counts, "prioritySteps")
    return None if separator is None or steps is None else QueueLayout(separator=separator, priority_steps=steps)


def _versions(fields: JsonFields) -> tuple[tuple[str, str], ...]:
    """Those that are said and look like one: they are shown to people."""
    said = ((words, _if_said(fields.text, name)) for name, words in SOFTWARE.items())
    return tuple((words, version) for words, version in said if version is not None and _VERSION.fullmatch(version))


def _word(text: str) -> str:
    return text if _WORD.fullmatch(text) else ""


def _if_said(read: Callable[[str], T], name: str) -> T | None:
    try:
        return read(name)
    except WrongField:
        return None
