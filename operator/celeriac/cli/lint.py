"""What can be known to be wrong, or to surprise, from a pool's manifest alone."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from celeriac.cli.documents import BadDocument, Document
from celeriac.cli.schema import schema_problems
from celeriac.pool.fields import is_unknown_field
from celeriac.pool.model import SHUTDOWN_SECONDS, BrokerSpec, InvalidPool, NotAllowed, PoolType, WorkerPool
from celeriac.pool.parse import parse_pool, problems
from celeriac.pool.platform import OPEN, Platform

GREEN_POOLS = (PoolType.GEVENT, PoolType.EVENTLET)


@dataclass(frozen=True, slots=True)
class Finding:
    """One message; an error is one that the API server or the operator refuses the pool for."""

    place: str
    is_error: bool
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {'error' if self.is_error else 'warning'}: {self.message}"


def lint(documents: Iterable[Document | BadDocument], platform: Platform = OPEN) -> list[Finding]:
    """All findings, in the order of the documents, then those that concern several pools.

    A pool is held against what `platform` allows once nothing else is wrong with it, as the operator does it.
    """
    findings: list[Finding] = []
    pools: list[tuple[Document, WorkerPool]] = []
    for document in documents:
        if isinstance(document, BadDocument):
            findings.append(Finding(document.place, True, document.message))
            continue
        findings += [Finding(document.place, True, message) for message in errors(document)]
        try:
            pool = platform.within(parse_pool(document.body), document.body)
        except NotAllowed as error:
            findings.append(Finding(document.place, True, str(error)))
            continue
        except InvalidPool:
            continue  # its errors are told, and what would surprise of it cannot be known
        pools.append((document, pool))
        findings += [Finding(document.place, False, message) for message in warnings(pool)]
    return findings + list(_shared_queues(pools))


def errors(document: Document) -> Iterator[str]:
    """What the API server or the operator refuses. Where both do, in the operator's words, which name the cure."""
    if document.wrong_version:
        yield document.wrong_version
    of_the_operator = problems(document.body)
    told = {problem.field for problem in of_the_operator}
    by_the_schema = {problem.field: problem for problem in schema_problems(document.body)}
    for problem in of_the_operator:
        # The schema knows all places, and so which of them a field was meant for.
        yield str(by_the_schema.get(problem.field, problem) if is_unknown_field(problem) else problem)
    yield from (str(problem) for field, problem in by_the_schema.items() if field not in told)


def warnings(pool: WorkerPool) -> Iterator[str]:
    """What may surprise the owner of one pool, each with its cure."""
    yield from _grace(pool)
    if pool.pool_type is PoolType.SOLO and (pool.worker.prefetch_multiplier or 1) > 1:
        yield (
            f"spec.worker.prefetchMultiplier: a solo worker holds {pool.worker.prefetch_multiplier} messages and runs "
            "one; the others wait behind it while other pods are idle: set 1"
        )
    if pool.pool_type in GREEN_POOLS and not pool.agent:
        yield (
            f"spec.pool: {pool.pool_type.value} workers never restore messages that a dead worker held: set "
            "spec.agent: enabled, or let a pool of another type use the same Redis database"
        )
    yield from _lost_children(pool)
    if "--without-mingle" in pool.worker.extra_args:
        yield "spec.worker.extraArgs: a worker that starts with --without-mingle runs tasks that were revoked: drop it"
    if pool.policy.pinned_replicas is not None:
        yield (
            f"spec.replicas: pins the pool to {pool.policy.pinned_replicas} each time this file is applied, and "
            "nothing scales it: drop it, and use kubectl celery pin for a while"
        )


def _lost_children(pool: WorkerPool) -> Iterator[str]:
    """A memory limit is what kills children. What the app says of that the manifest does not show: the field does."""
    limits = (pool.template.spec.get("resources") or {}).get("limits") or {}
    several = pool.pool_type is PoolType.PREFORK and pool.concurrency > 1
    if several and "memory" in limits and pool.worker.reject_on_worker_lost is None:
        where = "spec.worker.rejectOnWorkerLost" if pool.agent.keeps else "task_reject_on_worker_lost in the app"
        yield (
            "spec.worker: a child that is killed for its memory takes its acks_late task with it, unless the app sets"
            f" task_reject_on_worker_lost: say which is wanted, by {where}: true, or false"
        )


def _grace(pool: WorkerPool) -> Iterator[str]:
    limit = pool.worker.time_limit_seconds
    if limit is None:
        return
    needed = limit + SHUTDOWN_SECONDS
    if pool.drain_timeout_seconds < needed:
        yield (
            f"spec.drain.timeoutSeconds: {pool.drain_timeout_seconds} s are too few for a task of up to {limit} s "
            f"(spec.worker.timeLimitSeconds): a stopping worker would be killed amid it: set at least {needed}"
        )


def _shared_queues(pools: Iterable[tuple[Document, WorkerPool]]) -> Iterator[Finding]:
    """Pools that consume one queue of one broker: right for some, a slip of copy and paste for others."""
    consumers: dict[tuple[str, BrokerSpec, str], list[Document]] = defaultdict(list)
    for document, pool in pools:
        for queue in pool.queues:
            consumers[pool.key.namespace, pool.broker, queue].append(document)
    for (_namespace, _broker, queue), sharing in consumers.items():
        for first, second in pairwise(sharing):
            other = first.body["metadata"]["name"]
            message = (
                f"spec.queues: {queue!r} is also a queue of {other}: each of the two scales for all that waits in it"
            )
            yield Finding(second.place, False, message)
