"""In what the workers of a pool are not what its spec says."""

import json
from collections.abc import Set
from typing import NamedTuple

from celeriac.api.reasons import Reason
from celeriac.api.words import foreign
from celeriac.brokers.agents import WorkerReport
from celeriac.cluster.text import bounded
from celeriac.pool.layouts import layout_difference
from celeriac.pool.model import PoolType, WorkerPool
from celeriac.workers.worker import Worker, Workers

CELERY_MODULES = {
    each: f"celery.concurrency.{'thread' if each is PoolType.THREADS else each.value}:" for each in PoolType
}
"""Where Celery keeps the class of each pool type."""


class Trouble(NamedTuple):
    """In what a worker is not what the spec says: a `Reason`, and a message with the cure."""

    reason: Reason
    message: str


def trouble_of(pool: WorkerPool, workers: Workers) -> Trouble | None:
    """The first trouble among the workers that stay."""
    troubles = (_trouble(pool, worker) for worker in workers.all if worker.is_replica)
    return next((trouble for trouble in troubles if trouble is not None), None)


def _trouble(pool: WorkerPool, worker: Worker) -> Trouble | None:
    if worker.unreadable:
        return Trouble(
            Reason.REPORT_UNREADABLE,
            f"what the agent in worker {worker.pod.name} reports cannot be understood, so that it counts as busy: the"
            " agent is of another release than the operator, or something else writes to its keys; restart the worker"
            " by a rollout, and give each application a key prefix of its own",
        )
    if worker.missing:
        return Trouble(
            Reason.AGENT_MISSING,
            f"worker {worker.pod.name} does not report, so that it counts as busy: look into its log for 'celeriac';"
            " its app must use the broker and database of spec.broker, where its reports are looked for with key prefix"
            f" {json.dumps(pool.broker.layout.key_prefix)}: spec.broker.keyPrefix must equal global_keyprefix of the"
            " app's broker_transport_options. An image that cannot load the agent"
            " runs with spec.agent: disabled",
        )
    if worker.report is None:
        return None
    if worker.report.signals is False:
        return Trouble(
            Reason.SIGNALS_NOT_FORWARDED,
            f"SIGTERM does not reach Celery, and Celery alone, in {worker.pod.name}: a program of spec.launcher between"
            " PID 1 and Celery ignores it, or signals Celery's children too; tasks would be killed with the worker:"
            " start Python with exec, or by an init like tini",
        )
    difference = _difference(pool, worker.report)
    return Trouble(Reason.WORKER_MISMATCH, f"worker {worker.pod.name} {difference}") if difference else None


def _other_queues(found: Set[str], wanted: Set[str]) -> str:
    """Queues that are missing may have been taken from a worker that runs."""
    if found < wanted:
        lost = ",".join(sorted(wanted - found))  # the spec's own names
        return (
            f"does not consume from {bounded(lost)}: remote control has cancelled that (celery control add_consumer"
            f" {bounded(min(wanted - found))}), or the app changes the queues; then set spec.queues to its own"
        )
    names = foreign(",".join(sorted(found))), bounded(",".join(sorted(wanted)))
    return "consumes from the queues {} instead of {}: the app changes them; set spec.queues to its own".format(*names)


def _difference(pool: WorkerPool, report: WorkerReport) -> str | None:
    """What the application made of the command line."""
    if set(report.queues) != set(pool.queues):
        return _other_queues(set(report.queues), set(pool.queues))
    if report.slots != pool.policy.slots:
        return f"runs {report.slots} tasks at a time instead of {pool.policy.slots}: set spec.concurrency to that"
    if report.layout is not None and (other := layout_difference(pool, report.layout)):
        return other
    if pool.pool_type is not PoolType.CUSTOM and CELERY_MODULES[pool.pool_type] not in report.pool_class:
        return (
            f"uses the pool {foreign(report.pool_class)} instead of {pool.pool_type}: remove what the app sets it with"
        )
    return None
