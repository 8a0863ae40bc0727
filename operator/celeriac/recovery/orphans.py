"""Brokers that only Pods name: their pool was deleted, or has moved to another broker, while no operator looked."""

from collections.abc import Iterable
from dataclasses import dataclass

from celeriac.api.keys import PoolKey
from celeriac.cluster.records import PodRecord
from celeriac.connecting.credentials import BrokerSource
from celeriac.pool.broker import broker_reference, parse_broker_reference
from celeriac.pool.model import InvalidPool, WorkerPool
from celeriac.watching.store import KnownPool


@dataclass(frozen=True, slots=True)
class Orphan:
    """A broker that Pods of a pool name by their annotation, and the pool itself does not (any more).

    pod    one of them, for messages
    where  the source and registry of the broker, or why the annotation cannot be understood
    """

    pool: PoolKey
    pod: str
    where: tuple[BrokerSource, str] | InvalidPool


def orphans_of(pools: Iterable[KnownPool], pods: Iterable[PodRecord]) -> list[Orphan]:
    """Go through all Pods; one Orphan for each broker of a pool."""
    current = {
        known.key: broker_reference(known.spec.broker)
        for known in pools
        if isinstance(known.spec, WorkerPool) and not known.deleting
    }
    named = {(pod.key, pod.broker): pod.name for pod in pods if pod.broker and current.get(pod.key) != pod.broker}
    return [Orphan(key, pod, _where(key, reference)) for (key, reference), pod in named.items()]


def _where(key: PoolKey, reference: str) -> tuple[BrokerSource, str] | InvalidPool:
    try:
        broker = parse_broker_reference(reference)
    except InvalidPool as error:
        return error
    return BrokerSource.of(key.namespace, broker), broker.layout.registry
