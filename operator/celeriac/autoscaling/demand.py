"""From readings to demand: what a pool has to do, out of its queues and its workers' reports; pure."""

from collections.abc import Iterable
from dataclasses import replace

from celeriac.brokers.readings import PoolReading, QueueSet
from celeriac.cluster.records import DeploymentRecord, PodRecord
from celeriac.pool.layouts import effective_layout
from celeriac.pool.model import QueueLayout, WorkerPool
from celeriac.scaling.learning import Learned, Sample
from celeriac.scaling.workload import Demand, Pod, Rollout, Workload
from celeriac.workers.worker import Worker, Workers

NOT_CONSUMING = ("starting", "stopping")
"""States of a worker that has not begun to consume, or will not any more."""


def demand_without_agent(reading: PoolReading, replicas: int, slots: int) -> Demand:
    """What a pool of so many replicas, each with `slots`, has to do, from Redis alone.

    What workers hold beyond their slots is reserved: prefetched, or scheduled tasks of one worker that fell due all at
    once. No further pod could take it, so it calls for none. Without replicas something else holds it, or nobody does.
    """
    return Demand(
        waiting=reading.waiting,
        running=min(reading.held, max(1, replicas) * slots),
        scheduled=reading.scheduled,
        exact=reading.exact and reading.refusal is None,
        refused=reading.refusal is not None,
        current_replicas=replicas,
    )


def demand_of(
    reading: PoolReading,
    replicas: int,
    workers: Workers,
    learned: Learned,
    *,
    unresolved: bool = False,
    drains: bool = True,
) -> Demand:
    """What a pool has to do whose workers report.

    What the shared `unacked` holds belongs to others, but for what workers without keys of their own hold.
    `unresolved`: a worker may be gone with messages that are not back yet, so that nobody can say that nothing is held.
    `drains`: whether the pool asks for draining, by which workers give back what they hold for an ETA.
    """
    return Demand(
        waiting=reading.waiting,
        running=workers.running,
        ending=workers.ending,
        scheduled=workers.scheduled,
        deferred=reading.deferred,
        next_eta_seconds=reading.next_eta_seconds,
        held_elsewhere=max(0, reading.held + reading.scheduled - workers.in_shared_keys),
        agent=True,
        gives_back=drains and workers.can_drain,
        exact=reading.exact and not unresolved and reading.refusal is None,
        refused=reading.refusal is not None,
        current_replicas=replicas,
        arrival_rate=learned.arrival_rate,
        runtime_seconds=learned.runtime_seconds,
        cold_start_seconds=learned.cold_start_seconds,
    )


def sample_of(reading: PoolReading, workers: Workers, now: float) -> Sample:
    """What is to be learned from one reading; counts are those of the last reports, be they old."""
    reports = [(worker.pod, worker.report) for worker in workers.all if worker.report is not None]
    return Sample(
        now=now,
        waiting=reading.waiting,
        in_system=reading.waiting + sum(report.active + report.reserved for _, report in reports),
        counters={report.process: (report.processed, report.busy_seconds) for _, report in reports},
        started={
            worker.pod.uid: worker.report is not None and worker.report.state not in NOT_CONSUMING
            for worker in workers.all
        },
    )


def queues_of(pool: WorkerPool, learned: QueueLayout | None = None, pods: Iterable[PodRecord] = ()) -> QueueSet:
    """What is to be read for a pool whose workers have said how its queues are laid out, where the spec does not."""
    layout = effective_layout(pool, learned)
    return QueueSet(pool.queues, layout, pool.uid if pool.agent else None, tuple(pod.uid for pod in pods))


def workload_of(
    deployment: DeploymentRecord,
    workers: Workers | None,
    *,
    agent: bool = False,
    pods: Iterable[PodRecord] = (),
    rollout: Rollout | None = None,
) -> Workload:
    """What `plan` has to know of the Deployment; its Pods only with the agent, or in a rollout.

    A pool with the agent that could not be read yet is one whose pods are unseen. In a pool without it, Pods that still
    have the agent run tasks that nobody sees: from the change of the spec on, not only once Kubernetes tells of a
    rollout.
    """
    replicas, rolling = deployment.spec_replicas, deployment.rollout_in_progress
    if workers is None and not agent:
        pods = list(pods)
        hidden = any(pod.broker is not None and pod.is_counted for pod in pods)
        known = unreported(pods) if rollout is not None else ()
        unseen = max(0, deployment.replicas - len(known)) if rollout is not None else 0
        return Workload(replicas, rolling or hidden, known, unseen=unseen, hidden=hidden, rollout=rollout)
    known = workers.pods() if workers is not None else ()
    rolling = rolling or (workers is not None and workers.replica_sets > 1)
    unseen = max(0, deployment.replicas - len(known))
    return Workload(replicas, rolling, known, agent=True, unseen=unseen, rollout=rollout)


def unreported(pods: Iterable[PodRecord]) -> tuple[Pod, ...]:
    """The Pods of a pool without the agent as `plan` sees them: none can drain, and what they run is not known."""
    workers = Workers(tuple(Worker(pod, None, False, 1, missing=True, begun=pod.ready) for pod in pods), {})
    return tuple(replace(pod, drainable=False) for pod in workers.pods())
