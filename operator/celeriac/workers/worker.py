"""A pool's workers: each Pod joined with what the agent in it last reported.

Unknown is never idle. A worker whose report is missing or old counts as busy in all its slots, until a report that
moves says otherwise. The age of a report is the time since its counter changed, on the operator's own clock: the
clocks of two machines are never compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from celeriac.brokers.agents import STOP_ONE, WorkerReport
from celeriac.cluster.records import PodRecord
from celeriac.scaling.workload import Pod

CONSUMING = "consuming"
DRAINED = "drained"
STOPPING = "stopping"


def restarting(pod: PodRecord) -> str | None:
    """Which start of its worker the mark of a Pod tells to stop, so that its container is started anew; None: none."""
    token = pod.drain_token or ""
    return token.removeprefix(STOP_ONE).rpartition("-")[0] if token.startswith(STOP_ONE) else None


@dataclass(frozen=True, slots=True)
class Worker:
    """One Pod and its report.

    fresh     the report has changed lately: see observer.STALE_SECONDS
    missing   it has been ready for long without any: see observer.MISSING_SECONDS
    unreadable  there is a report, which cannot be understood
    reported  there was a report, which is gone: the agent deletes its report on a clean exit
    begun     it is ready or reports, or once did
    recent_costs  deletion costs that its Pod had lately, beside the present one: see observer.SETTLE_SECONDS
    restless  it has not been at rest for long: see observer.RESTLESS_SECONDS
    drains    the level of the agent that the pool asks for includes draining
    unheard   its Pod was deleted so long ago that it must have been told: see observer.DEAF_SECONDS
    """

    pod: PodRecord
    report: WorkerReport | None
    fresh: bool
    slots: int
    missing: bool = False
    unreadable: bool = False
    reported: bool = False
    begun: bool = False
    recent_costs: frozenset[int] = frozenset()
    drains: bool = True
    restless: bool = False
    unheard: bool = False

    @property
    def is_replica(self) -> bool:
        """Whether a ReplicaSet counts its Pod."""
        return self.pod.is_counted

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
    def deaf(self) -> bool:
        """Whether it has not heard that it is to stop: PID 1 without a handler, or a shell there, drops the signal."""
        return self.unheard and self.fresh and self.report is not None and self.report.state != STOPPING

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
        return self.drains and (not self.started or (self.pod.ready and not self.missing))

    @property
    def quiet(self) -> bool | None:
        """Whether it has just said that it holds nothing; it may take something the next moment.

        None: it says nothing, or SIGTERM does not reach it, so that nobody could end what it takes until then.
        """
        report = self.report
        if report is None or not self.fresh or report.signals is False:
            return None
        return report.state == CONSUMING and not (report.active or report.reserved or report.scheduled)


@dataclass(frozen=True, slots=True)
class Workers:
    """All workers of one pool at one moment, Terminating ones included: they do work, but are no capacity.

    oldest_drain_seconds  for how long the Pod that drains the longest has been seen to do so; 0 where none does
    """

    all: tuple[Worker, ...]
    marks: Mapping[str, str]
    oldest_drain_seconds: float = 0.0

    @property
    def running(self) -> int:
        """Tasks that run in replicas."""
        return sum(worker.running for worker in self.all if worker.is_replica)

    @property
    def ending(self) -> int:
        """Tasks that run in Pods that no ReplicaSet counts: Terminating, Failed, nobody's. They need no replica."""
        return sum(worker.running for worker in self.all if not worker.is_replica)

    @property
    def reserved(self) -> int:
        """Messages received and not started, due ones."""
        return sum(worker.report.reserved for worker in self.all if worker.report)

    @property
    def scheduled(self) -> int:
        """Messages that replicas hold for an ETA that has not come."""
        return sum(each.report.scheduled for each in self.all if each.report and each.is_replica)

    @property
    def in_shared_keys(self) -> int:
        """What workers without keys of their own hold at most of what the application's keys hold."""
        reports = (each.report for each in self.all if each.report and "inflight" not in each.report.capabilities)
        return sum(report.active + report.reserved + report.scheduled for report in reports)

    @property
    def can_drain(self) -> bool:
        """Whether all that have started can: only then is what they hold for an ETA given back for certain."""
        return all(worker.drainable for worker in self.all if worker.is_replica and worker.started)

    @property
    def agent_errors(self) -> int:
        """What the agents could not do since the start of each, every try counted."""
        return sum(worker.report.errors for worker in self.all if worker.report)

    @property
    def refusals(self) -> tuple[str, ...]:
        """The words by which the broker refuses what workers write, one for each of these workers, by fresh reports."""
        return tuple(each.report.refusal for each in self.all if each.report and each.fresh and each.report.refusal)

    @property
    def replica_sets(self) -> int:
        """How many ReplicaSets have Pods: more than one in a rollout, whatever the Deployment has told of it yet."""
        return len({worker.pod.replica_set for worker in self.all if worker.is_replica})

    @property
    def marked(self) -> list[Pod]:
        """Pods that are being drained."""
        return [self._pod(worker) for worker in self.all if worker.is_replica and self._is_marked(worker.pod)]

    @property
    def deaf(self) -> list[PodRecord]:
        """Deleted Pods whose workers go on."""
        return [worker.pod for worker in self.all if worker.deaf]

    def reports(self) -> list[tuple[str, WorkerReport]]:
        """The last reports of the workers that stay, each with the name of its Pod."""
        return [(each.pod.name, each.report) for each in self.all if each.is_replica and each.report is not None]

    def pods(self) -> tuple[Pod, ...]:
        """The Pods as `plan` sees them, those left out that are no replicas any more.

        A mark counts once both sides show it: the Pod, for the ReplicaSet's order, and Redis, for the worker. A worker
        that starts after that finds it before it consumes.
        """
        return tuple(self._pod(worker) for worker in self.all if worker.is_replica)

    def _is_marked(self, pod: PodRecord) -> bool:
        is_to_go = pod.drain_token is not None and restarting(pod) is None
        return is_to_go and self.marks.get(pod.uid) == pod.drain_token

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
            quiet=worker.quiet,
            restless=worker.restless,
            created=pod.created,
            replica_set=pod.replica_set,
            unplaced=pod.unplaced,
        )
