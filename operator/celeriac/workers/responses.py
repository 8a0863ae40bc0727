"""Whether the workers of a pool answer and take work, which the readiness of their Pods does not tell.

In virtual time: what is judged is how long something stood still on the operator's own monotonic clock, in seconds.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from celeriac.brokers.agents import WorkerReport
from celeriac.workers.worker import Worker, Workers

SILENT_SECONDS: Final = 30.0
"""A report comes every second. A busy worker reports from a thread or between two turns of its loop."""
NOT_FETCHING_SECONDS: Final = 45.0
"""Redis hands a waiting message to a worker with room within milliseconds; celery-batches flushes after 30 s."""
NOT_STARTING_SECONDS: Final = 300.0
"""What a worker holds for a free slot may wait for children that load a model when they start."""
GAP_SECONDS: Final = 5.0
"""Without a look for so long nobody knows what stood still: the broker was away, or the operator."""
RECONNECT_SECONDS: Final = 30.0
"""Celery tries to connect at least that often; its pauses grow by 2 s, so that none is longer than what went before."""


@dataclass(frozen=True, slots=True)
class Lapse:
    """What one worker has not done for how long.

    pod       its Pod's name
    seconds   since when, counted back from the look
    unstarted tasks that it has received and not started, though slots are free; 0 where it fetches nothing
    """

    pod: str
    seconds: float
    unstarted: int = 0


@dataclass(frozen=True, slots=True)
class Responses:
    """What a look at the workers found.

    judged        workers whose silence would be told: replicas that are ready and have reported
    silent        workers whose report stands still, the longest first
    not_fetching  workers that report, have free slots, and take none of the tasks that wait in their queues
    limited       tasks that workers hold back by their rate limit
    """

    judged: int = 0
    silent: tuple[Lapse, ...] = ()
    not_fetching: tuple[Lapse, ...] = ()
    limited: int = 0


@dataclass(frozen=True, slots=True)
class _Still:
    """Something that has been the same since a moment (monotonic seconds)."""

    what: tuple[object, ...]
    since: float


class ResponseWatch:
    """Remembers of each Pod what its worker said last, and since when it says nothing else."""

    def __init__(self) -> None:
        self._reports: dict[str, _Still] = {}
        self._standstills: dict[str, _Still] = {}
        self._last_look: float | None = None

    def look(self, workers: Workers, waiting: Mapping[str, int], now: float) -> Responses:
        """Judge the workers of one reading. `waiting`: messages in the lists of each queue, those not due left out."""
        if self._last_look is not None and (gap := now - self._last_look) > GAP_SECONDS:
            grace = gap + min(gap, RECONNECT_SECONDS)
            self._reports, self._standstills = _later(self._reports, grace), _later(self._standstills, grace)
        self._last_look = now
        judged = {worker.pod.uid: worker for worker in workers.all if _is_judged(worker)}
        self._reports = _kept(self._reports, {uid: _said(worker) for uid, worker in judged.items()}, now)
        idle = {uid: worker for uid, worker in judged.items() if _leaves_work(worker, workers.marks, waiting)}
        self._standstills = _kept(self._standstills, {uid: _progress(worker) for uid, worker in idle.items()}, now)
        silent = [Lapse(each.pod.name, now - self._reports[uid].since) for uid, each in judged.items()]
        return Responses(
            judged=len(judged),
            silent=_longest_first(lapse for lapse in silent if lapse.seconds >= SILENT_SECONDS),
            not_fetching=_longest_first(
                lapse for uid, each in idle.items() if (lapse := self._standstill(uid, each, now)) is not None
            ),
            limited=sum(worker.report.limited for worker in judged.values() if worker.report),
        )

    def _standstill(self, uid: str, worker: Worker, now: float) -> Lapse | None:
        seconds, report = now - self._standstills[uid].since, worker.report
        if report is None or seconds < NOT_FETCHING_SECONDS:
            return None
        if report.active + report.reserved < report.slots:
            return Lapse(worker.pod.name, seconds)
        return Lapse(worker.pod.name, seconds, report.reserved) if seconds >= NOT_STARTING_SECONDS else None


def _is_judged(worker: Worker) -> bool:
    """Whether its report has to move: a container that starts anew still shows the report of the one before."""
    pod = worker.pod
    return worker.is_replica and pod.running and pod.ready and worker.report is not None


def _leaves_work(worker: Worker, marks: Collection[str], waiting: Mapping[str, int]) -> bool:
    """Whether it consumes, and has slots free while messages wait in its queues; a rate limit explains that."""
    report, pod = worker.report, worker.pod
    if report is None or not worker.fresh or report.state != "consuming":
        return False
    is_to_go = report.token is not None or pod.drain_token is not None or pod.uid in marks
    has_slots = report.active < report.slots and not report.limited
    return not is_to_go and has_slots and any(waiting.get(queue) for queue in report.queues)


def _said(worker: Worker) -> tuple[object, ...]:
    report = worker.report
    return () if report is None else (report.process, report.counter, worker.pod.restarts)


def _progress(worker: Worker) -> tuple[object, ...]:
    """Changes whenever the worker takes a message, starts a task or ends one."""
    report: WorkerReport | None = worker.report
    if report is None:
        return ()
    counts = report.delivered, report.active, report.reserved, report.scheduled, report.processed
    return report.process, report.slots, *counts


def _later(stills: Mapping[str, _Still], seconds: float) -> dict[str, _Still]:
    """Do not count the time of a gap, and as long after it as workers may need to come back."""
    return {uid: _Still(each.what, each.since + seconds) for uid, each in stills.items()}


def _kept(before: Mapping[str, _Still], seen: Mapping[str, tuple[object, ...]], now: float) -> dict[str, _Still]:
    """What is still the same keeps its moment."""
    return {
        uid: last if (last := before.get(uid)) is not None and last.what == what else _Still(what, now)
        for uid, what in seen.items()
    }


def _longest_first(lapses: Iterable[Lapse]) -> tuple[Lapse, ...]:
    return tuple(sorted(lapses, key=lambda lapse: (-lapse.seconds, lapse.pod)))
