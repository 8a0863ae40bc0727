"""Which deleted Pods do not go away, and why; in virtual time, by the operator's own monotonic clock, in seconds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from celeriac.cluster.records import PodRecord
from celeriac.workers.worker import Worker, Workers

STUCK_SECONDS: Final = 30.0
"""A kubelet removes a Pod seconds after its containers have ended, and kills those at the end of their grace period."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """One Pod that is Terminating for too long.

    seconds     since it was first seen so
    node        where it is assigned to; None: nowhere
    finalizers  that keep it although its containers have ended; else its node does not end it
    held        tasks and messages that it had by its last report
    """

    pod: str
    seconds: float
    node: str | None
    finalizers: tuple[str, ...] = ()
    held: int = 0


@dataclass(frozen=True, slots=True)
class _Since:
    """Moments: it was first seen deleted; its worker was last heard; its containers were first seen ended."""

    deleted: float
    heard: float
    ended: float | None = None


class StuckWatch:
    """Remembers of each deleted Pod since when it is so."""

    def __init__(self) -> None:
        self._since: dict[str, _Since] = {}

    def look(self, pods: Iterable[PodRecord], workers: Workers | None, now: float) -> tuple[Stuck, ...]:
        """Those that are stuck, the longest first. `workers` None: no reports can be read, or there are none."""
        known = {each.pod.uid: each for each in workers.all} if workers is not None else {}
        deleted = [pod for pod in pods if pod.terminating]
        self._since = {pod.uid: self._after(pod, known, now) for pod in deleted}
        stuck = [
            _stuck(pod, now - self._since[pod.uid].deleted, known.get(pod.uid))
            for pod in deleted
            if self._is_stuck(pod, now)
        ]
        return tuple(sorted(stuck, key=lambda each: (-each.seconds, each.pod)))

    def _after(self, pod: PodRecord, known: Mapping[str, Worker], now: float) -> _Since:
        before = self._since.get(pod.uid) or _Since(now, now)
        worker = known.get(pod.uid)
        silent = worker is not None and worker.report is not None and not worker.fresh
        ended = None if pod.running else now if before.ended is None else before.ended
        return _Since(before.deleted, before.heard if silent else now, ended)

    def _is_stuck(self, pod: PodRecord, now: float) -> bool:
        since = self._since[pod.uid]
        if since.ended is not None:
            return now - since.ended >= STUCK_SECONDS
        overdue = now - since.deleted >= pod.grace_seconds + STUCK_SECONDS
        return overdue or now - since.heard >= STUCK_SECONDS


def _stuck(pod: PodRecord, seconds: float, worker: Worker | None) -> Stuck:
    report = worker.report if worker is not None else None
    return Stuck(
        pod.name,
        seconds,
        pod.node,
        () if pod.running else pod.finalizers,
        report.active + report.reserved + report.scheduled if report is not None else 0,
    )


def held_by(stuck: Sequence[Stuck]) -> int:
    """What all of them had by their last reports."""
    return sum(each.held for each in stuck)
