"""A pool's workers: each Pod joined with what the agent in it last reported.

Unknown is never idle. A worker whose report is missing or old counts as busy in all its slots, until a report that
moves says otherwise. The age of a report is the time since its counter changed, on the operator's own clock: the
clocks of two machines are never compared.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from celeriac.api.reasons import Reason
from celeriac.brokers.agents import WorkerReport
from celeriac.cluster.records import PodRecord
from celeriac.pool.model import PoolType, WorkerPool
from celeriac.scaling.types import Pod

STALE_SECONDS = 5.0
"""A report that has not changed for so long is old: it comes every second, and a busy machine skips one or two."""
MISSING_SECONDS = 30.0
"""A Pod that has been ready for so long without any report runs no agent, or reports to another place."""
SETTLE_SECONDS = 1.0
"""A deletion cost that changed so long ago is believed to be known to the ReplicaSet controller, by its own watch."""

DRAINED = "drained"

CELERY_MODULES = {
    each: f"celery.concurrency.{'thread' if each is PoolType.THREADS else each.value}:" for each in PoolType
}
"""Where Celery keeps the class of each pool type."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One Pod and its report.

    fresh     the report has changed within STALE_SECONDS
    missing   it has been ready for MISSING_SECONDS without any
    reported  there was a report, which is gone: a worker that ends with nothing in its hands takes its own away
    begun     it is ready or reports, or once did
    recent_costs  deletion costs that its Pod had within SETTLE_SECONDS, beside the present one
    """

    pod: PodRecord
    report: WorkerReport | None
    fresh: bool
    slots: int
    missing: bool = False
    reported: bool = False
    begun: bool = False
    recent_costs: frozenset[int] = frozenset()

    @property
    def is_replica(self) -> bool:
        """Whether a ReplicaSet counts it (controller.IsPodActive); somebody else's Pod may bear the label, too."""
        pod = self.pod
        return pod.replica_set is not None and not pod.terminating and pod.phase not in ("Succeeded", "Failed")

    @property
    def started(self) -> bool:
        """Whether it may hold a message: its container runs, and not for the first moments of its life.

        One whose container waits to be started anew holds none, and will find its mark before it consumes.
        """
        if self.report is not None and self.fresh:
            return True
        return self.pod.running and (self.begun or self.pod.started or self.pod.restarts > 0)

    @property
    def running(self) -> int:
        """Tasks that it runs; at least one where it holds some that it has not started."""
        if not self.started or self.pod.all_terminated or self._ends_with_nothing:
            return 0
        if self.report is None or not self.fresh:
            return self.slots if self.pod.running else 0
        return max(self.report.active, 1 if self.report.reserved else 0)

    @property
    def _ends_with_nothing(self) -> bool:
        """Whether it is deleted, and has taken its report away or was removed because it had drained."""
        gone_or_drained = self.reported or self.pod.drain_token is not None
        return self.pod.terminating and self.report is None and gone_or_drained

    @property
    def drained(self) -> bool:
        """Whether it has just said that it holds nothing and takes nothing, by the very mark that its Pod carries."""
        report, token = self.report, self.pod.drain_token
        return report is not None and self.fresh and report.state == DRAINED and token in {report.token} - {None}

    @property
    def drainable(self) -> bool:
        """Whether its agent can drain; one that has not started will find its mark when it does.

        A ready one without a report is not given up at once: Redis may have lost it for a second.
        """
        if self.report is not None and self.started:
            return "drain" in self.report.capabilities
        return not self.started or (self.pod.ready and not self.missing)


@dataclass(frozen=True, slots=True)
class Workers:
    """All workers of one pool at one moment, Terminating ones included: they do work, but are no capacity."""

    all: tuple[Worker, ...]
    marks: Mapping[str, str]

    @property
    def running(self) -> int:
        """Tasks that run in the whole pool."""
        return sum(worker.running for worker in self.all)

    @property
    def reserved(self) -> int:
        """Messages received and not started, due ones."""
        return sum(worker.report.reserved for worker in self.all if worker.report)

    @property
    def scheduled(self) -> int:
        """Messages held for an ETA that has not come."""
        return sum(worker.report.scheduled for worker in self.all if worker.report)

    @property
    def replica_sets(self) -> int:
        """How many ReplicaSets have Pods: more than one in a rollout, whatever the Deployment has told of it yet."""
        return len({worker.pod.replica_set for worker in self.all if worker.is_replica})

    @property
    def marked(self) -> list[Pod]:
        """Pods that are being drained."""
        return [self._pod(worker) for worker in self.all if worker.is_replica and self._is_marked(worker.pod)]

    def pods(self) -> tuple[Pod, ...]:
        """The Pods as `plan` sees them, those left out that are no replicas any more.

        A mark counts once both sides show it: the Pod, for the ReplicaSet's order, and Redis, for the worker. A worker
        that starts after that finds it before it consumes.
        """
        return tuple(self._pod(worker) for worker in self.all if worker.is_replica)

    def _is_marked(self, pod: PodRecord) -> bool:
        return pod.drain_token is not None and self.marks.get(pod.uid) == pod.drain_token

    def _pod(self, worker: Worker) -> Pod:
        pod = worker.pod
        return Pod(
            uid=pod.uid,
            name=pod.name,
            assigned=pod.node is not None,
            phase=pod.phase,
            ready=pod.ready,
            cost=pod.deletion_cost,
            recent_costs=worker.recent_costs,
            marked=self._is_marked(pod),
            drained=worker.drained,
            started=worker.started,
            running=worker.running,
            drainable=worker.drainable,
            ready_since=pod.ready_since,
            restarts=pod.restarts,
            created=pod.created,
        )


@dataclass(frozen=True, slots=True)
class _Cost:
    """The deletion cost of one Pod, those just before, and when it last changed (monotonic seconds)."""

    now: int = 0
    recent: frozenset[int] = frozenset()
    changed_at: float = -math.inf

    def after(self, cost: int, now: float) -> "_Cost":
        """Take over a look at the Pod. A new Pod has no cost that the controller would have to see."""
        recent = self.recent if now - self.changed_at < SETTLE_SECONDS else frozenset()
        if cost == self.now:
            return _Cost(cost, recent, self.changed_at)
        return _Cost(cost, (recent | {self.now}) - {cost}, now)


@dataclass(slots=True)
class _Seen:
    """The last state of one Pod's report. `changed_at` in monotonic seconds."""

    process: str
    counter: int
    changed_at: float


class Observer:
    """Remembers of one pool's Pods when a report or cost last changed, since when each is ready, whether each began."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._ready_since: dict[str, float] = {}
        self._begun: frozenset[str] = frozenset()
        self._costs: dict[str, _Cost] = {}

    def observe(
        self,
        pods: Sequence[PodRecord],
        reports: Mapping[str, WorkerReport],
        marks: Mapping[str, str],
        slots: int,
        now: float,
    ) -> Workers:
        """Join the Pods with the reports read at `now` (monotonic seconds)."""
        uids = {pod.uid for pod in pods}
        self._seen = {uid: seen for uid, seen in self._seen.items() if uid in uids}
        self._ready_since = {pod.uid: self._ready_since.get(pod.uid, now) for pod in pods if pod.ready}
        self._begun = (self._begun & uids) | {pod.uid for pod in pods if pod.ready or pod.uid in reports}
        self._costs = {pod.uid: self._costs.get(pod.uid, _Cost()).after(pod.deletion_cost, now) for pod in pods}
        return Workers(tuple(self._worker(pod, reports.get(pod.uid), slots, now) for pod in pods), marks)

    def _worker(self, pod: PodRecord, report: WorkerReport | None, slots: int, now: float) -> Worker:
        seen, begun, costs = self._seen.get(pod.uid), pod.uid in self._begun, self._costs[pod.uid].recent
        if report is None:
            since = max(self._ready_since.get(pod.uid, now), seen.changed_at if seen else -math.inf)
            missing = now - since >= MISSING_SECONDS
            return Worker(pod, None, False, slots, missing, reported=seen is not None, begun=begun, recent_costs=costs)
        if seen is None or (seen.process, seen.counter) != (report.process, report.counter):
            seen = self._seen[pod.uid] = _Seen(report.process, report.counter, now)
        return Worker(pod, report, now - seen.changed_at < STALE_SECONDS, slots, begun=begun, recent_costs=costs)


class Trouble(NamedTuple):
    """In what a worker is not what the spec says: a `Reason`, and a message with the cure."""

    reason: str
    message: str


def trouble_of(pool: WorkerPool, workers: Workers) -> Trouble | None:
    """The first trouble among the workers that stay."""
    troubles = (_trouble(pool, worker) for worker in workers.all if worker.is_replica)
    return next((trouble for trouble in troubles if trouble is not None), None)


def _trouble(pool: WorkerPool, worker: Worker) -> Trouble | None:
    if worker.missing:
        return Trouble(
            Reason.AGENT_MISSING,
            f"worker {worker.pod.name} does not report, so that it counts as busy: look into its log for 'celeriac';"
            " its app must use the broker, database and key prefix of spec.broker. An image that cannot load the agent"
            " runs with spec.agent: disabled",
        )
    if worker.report is None:
        return None
    if worker.report.signals is False:
        return Trouble(
            Reason.SIGNALS_NOT_FORWARDED,
            f"a program of spec.launcher between PID 1 and Celery in {worker.pod.name} ignores SIGTERM: no worker could"
            " end its tasks before it is killed; start Python with exec, or by an init like tini",
        )
    difference = _difference(pool, worker.report)
    return Trouble(Reason.WORKER_MISMATCH, f"worker {worker.pod.name} {difference}") if difference else None


def _difference(pool: WorkerPool, report: WorkerReport) -> str | None:
    """What the application made of the command line."""
    if set(report.queues) != set(pool.queues):
        found, wanted = ",".join(sorted(report.queues)), ",".join(sorted(pool.queues))
        return f"consumes from the queues {found} instead of {wanted}: the app changes them; set spec.queues to its own"
    if report.slots != pool.policy.slots:
        return f"runs {report.slots} tasks at a time instead of {pool.policy.slots}: set spec.concurrency to that"
    if pool.pool_type is not PoolType.CUSTOM and CELERY_MODULES[pool.pool_type] not in report.pool_class:
        return f"uses the pool {report.pool_class} instead of {pool.pool_type}: remove what the app sets it with"
    return None
