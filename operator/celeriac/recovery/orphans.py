"""Brokers that only Pods name: their pool was deleted, or has moved to another broker, while no operator looked."""

from collections.abc import Callable, Iterable, Mapping
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


Named = Mapping[tuple[PoolKey, str], str]
"""By a pool and what Pods of it say of its broker: the name of one of them."""


def named_by_pods(pools: Iterable[KnownPool], pods: Iterable[PodRecord]) -> Named:
    """Go through all Pods; what their own pools say is left out."""
    current = {
        known.key: broker_reference(known.spec.broker)
        for known in pools
        if isinstance(known.spec, WorkerPool) and not known.deleting
    }
    return {(pod.key, pod.broker): pod.name for pod in pods if pod.broker and current.get(pod.key) != pod.broker}


def orphans_of(named: Named, knows: Callable[[PoolKey, str], bool]) -> list[Orphan]:
    """One Orphan for each broker that a pool is known to have named. Whoever may make a Pod can write any other."""
    return [
        Orphan(key, pod, _where(key, reference)) for (key, reference), pod in named.items() if knows(key, reference)
    ]


def _where(key: PoolKey, reference: str) -> tuple[BrokerSource, str] | InvalidPool:
    try:
        broker = parse_broker_reference(reference)
    except InvalidPool as error:
        return error
    return BrokerSource.of(key.namespace, broker), broker.layout.registry
