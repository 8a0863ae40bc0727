"""One place where processes are registered: one broker, whatever user and password lead to it.

A place knows its pools (each by registry and uid) and the ways to it: a way is one source of credentials with the
newest address that it gave. No I/O and no clock; `now` is in monotonic seconds.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from celeriac.api.keys import PoolKey
from celeriac.api.reasons import Reason
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.agents import Process, RegisteredPool, RegistryEntry
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.connecting.credentials import BrokerSource
from celeriac.pool.model import QueueLayout, WorkerPool
from celeriac.recovery.sightings import Sightings
from celeriac.watching.store import Store

SCAN_SECONDS = 5.0
"""Between two looks into a registry while nothing calls for one."""
HURRY_SECONDS = 1.0
"""Between two looks while a worker seems to have ended and is still registered."""
LONGEST_PAUSE_SECONDS = 60.0
"""Between two tries with credentials that were refused, at last."""
OF_CREDENTIALS = {
    Reason.BROKER_AUTHENTICATION_FAILED,
    Reason.BROKER_TLS_FAILED,
    Reason.BROKER_URL_INVALID,
    Reason.BROKER_UNSUPPORTED,
}
"""Doubts that the next try meets again, unless somebody mends the credentials."""


@dataclass(slots=True)
class Way:
    """How to get to a place. `lost` tells why the source gives no address any more: the one it gave last is used."""

    address: BrokerAddress
    registries: set[str] = field(default_factory=set)
    lost: BrokerDoubt | None = None
    doubt: BrokerDoubt | None = None
    pause: float = 0.0
    try_at: float = -math.inf

    def update(self, address: BrokerAddress) -> None:
        """Take over an address; a new one is tried at once."""
        self.lost = None
        if address != self.address:
            self.address, self.doubt, self.pause, self.try_at = address, None, 0.0, -math.inf

    def failed(self, doubt: BrokerDoubt, now: float) -> None:
        """The broker as a whole was in doubt. Credentials that were refused are tried less and less often."""
        self.doubt = doubt
        if doubt.reason in OF_CREDENTIALS:
            self.pause = min(max(2 * self.pause, SCAN_SECONDS), LONGEST_PAUSE_SECONDS)
            self.try_at = now + self.pause

    def succeeded(self) -> None:
        """The broker has answered."""
        self.doubt, self.pause, self.try_at = None, 0.0, -math.inf


@dataclass(slots=True)
class PoolHere:
    """One pool at a place; it is remembered after it is deleted or has moved, until nothing of it is left there.

    key                 None where nobody has told it yet
    lives               the pool exists and its broker is this one
    source, spec        None where it was deleted before this operator saw it
    visibility_timeout  of the application, in seconds; None until a worker has said it
    layout              of its queues, as its latest worker reads them; None until one has said it
    found               what the last look read; None before the first, and while it cannot be read
    doubts              what of it is not known, and since when
    had_agents          its workers have the agent, or had it: only then may something be registered
    moved               the pool exists and its broker is another one
    was_named           Pods of it named this place once
    known               processes that were registered at the last look, and those that are missed and hold something
    """

    key: PoolKey | None = None
    lives: bool = False
    source: BrokerSource | None = None
    spec: WorkerPool | None = None
    visibility_timeout: float | None = None
    layout: QueueLayout | None = None
    take_over_at: float = -math.inf
    found: RegisteredPool | None = None
    doubts: tuple[BrokerDoubt, ...] = ()
    doubt_since: float | None = None
    had_agents: bool = False
    moved: bool = False
    was_named: bool = False
    known: tuple[Process, ...] = ()

    def learn(self, found: RegisteredPool | None, doubts: tuple[BrokerDoubt, ...], now: float) -> None:
        """Take over what a look brought.

        The user of a pool without the agent needs no right to registries: where it has none, nothing is amiss.
        """
        self.had_agents |= self.spec is None or self.spec.agent.keeps or bool(found is not None and found.processes)
        if not self.had_agents:
            doubts = tuple(doubt for doubt in doubts if doubt.reason != Reason.BROKER_PERMISSION_DENIED)
        self.found, self.doubts = found, doubts
        self.doubt_since = None if not doubts else now if self.doubt_since is None else self.doubt_since
        if found is not None and found.processes:
            self.visibility_timeout = max(each.visibility_timeout for each in found.processes)
            self.layout = max(found.processes, key=lambda each: (each.started, each.process)).layout
            first = found.processes[0]
            self.key = self.key or PoolKey(first.namespace, first.pool)

    def forget(self, process: Process) -> None:
        """All that this process held is back."""
        self.known = tuple(each for each in self.known if each.process != process.process)

    @property
    def troubles(self) -> tuple[BrokerDoubt, ...]:
        """The doubts that concern anybody.

        Of a broker that a pool has left, and where none of its workers was ever seen (its URL was mistyped), they do
        not: it is looked at for a while, in silence.
        """
        return () if self.moved and self.visibility_timeout is None else self.doubts

    def takes_over(self, now: float) -> bool:
        """Whether it is time to look for what plain workers left; how old that must be only the workers know."""
        known = self.visibility_timeout is not None and math.isfinite(self.visibility_timeout)
        return self.lives and self.spec is not None and self.spec.agent.keeps and known and now >= self.take_over_at


@dataclass(slots=True)
class Place:
    """One broker.

    named       registries and pools that Pods name whose pool does not
    listed      pools that the registries listed when they were last read
    scan_at     when to look again
    version     of the store, when Pods that have ended were last looked for; None before that, and after a look
    ended       Pods whose end was known at the last look at them
    unresolved  uids of pools of which nobody knows that they hold nothing: a worker may be gone whose messages are not
                back, or what is registered could not be read
    living      all pools of the cluster by uid, wherever their brokers are
    namespaces  of the pools and Pods that name this broker, or did: a registry is heard about no other
    strangers   pools that the registries list and that are nobody's here, as of the last look
    """

    name: str
    ways: dict[BrokerSource, Way] = field(default_factory=dict)
    pools: dict[RegistryEntry, PoolHere] = field(default_factory=dict)
    named: set[tuple[str, PoolKey]] = field(default_factory=set)
    listed: set[RegistryEntry] = field(default_factory=set)
    scan_at: float = -math.inf
    version: int | None = None
    ended: frozenset[tuple[str, float | None]] = frozenset()
    sightings: Sightings = field(default_factory=Sightings)
    unresolved: frozenset[str] = frozenset()
    living: Mapping[str, PoolKey] = field(default_factory=dict)
    namespaces: set[str] = field(default_factory=set)
    strangers: tuple[RegistryEntry, ...] = ()

    def reach(self, source: BrokerSource, address: BrokerAddress, registry: str) -> None:
        """Note that a source leads here, for a registry."""
        way = self.ways.setdefault(source, Way(address))
        way.update(address)
        way.registries.add(registry)
        self.namespaces.add(source.namespace)

    def ways_of(self, entry: RegistryEntry) -> list[BrokerSource]:
        """Whose credentials may read a pool: its own first, then those of others that use the registry."""
        own = self.pools[entry].source
        others = [source for source, way in self.ways.items() if entry.registry in way.registries and source != own]
        return [own, *others] if own is not None and own in self.ways else others

    def is_due(self, store: Store, now: float) -> bool:
        """Look at once where a worker has just ended, else now and then."""
        if self.version == store.version:
            return now >= self.scan_at
        self.version = store.version
        keys = {pool.key for pool in self.pools.values() if pool.key is not None}
        pods = (pod for key in keys for pod in store.pods(key) if pod.finished_at is not None)
        ended = frozenset((pod.uid, pod.finished_at) for pod in pods)
        ended |= {(uid, None) for key in keys for uid in store.ended(key)}
        ended |= {(uid, None) for uid in self._vanished(store)}
        if not ended <= self.ended:
            self.scan_at = -math.inf
        self.ended = ended
        return now >= self.scan_at

    def _vanished(self, store: Store) -> Iterable[str]:
        """Uids of Pods that are not there any more and had a process registered at the last look.

        Until somebody looks, nothing says that they may hold messages, and a pool could go to zero meanwhile.
        """
        processes = (process for pool in self.pools.values() if pool.found for process in pool.found.processes)
        return (process.pod_uid for process in processes if store.pod(process.pod_uid) is None)

    def drop_ways(self, named: Collection[BrokerSource]) -> None:
        """Forget the sources that no pool and no Pod names, unless a registry could not be read without them."""
        wanted = {pool.source for pool in self.pools.values()} | set(named)
        covered = {registry for source, way in self.ways.items() if source in wanted for registry in way.registries}
        needed = {entry.registry for entry in self.pools} - covered
        self.ways = {source: way for source, way in self.ways.items() if source in wanted or way.registries & needed}

    def left(self) -> Iterator["Left"]:
        """Pools that are gone from here and that nobody names."""
        for entry, pool in self.pools.items():
            if not pool.lives and not self.is_named(entry.registry, pool.key):
                yield Left(pool.doubt_since if entry not in self.listed else None, self, entry, pool)

    def is_named(self, registry: str, key: PoolKey | None) -> bool:
        """Whether Pods of a pool name this place; without its name, Pods of any pool."""
        return any(named == registry and key in (None, pool) for named, pool in self.named)

    def key_of(self, entry: RegistryEntry) -> PoolKey | None:
        """The name of a pool by the word of the cluster, and not of the registry; None where it does not tell."""
        pool = self.pools.get(entry)
        own = pool.spec.key if pool is not None and pool.spec is not None else None
        return self.living.get(entry.pool_uid, own)

    def is_ours(self, entry: RegistryEntry) -> bool:
        """Whether the cluster itself says that the pool is here, or was: anybody may write a uid into a registry."""
        pool = self.pools.get(entry)
        if pool is None or pool.spec is not None or pool.was_named:
            return pool is not None
        key = self.key_of(entry) or pool.key
        return key is not None and self.is_named(entry.registry, key)

    def living_at(self, entry: RegistryEntry) -> PoolKey | None:
        """The pool that exists and whose entry this is: what this broker says may be told of it, and of no other."""
        return self.living.get(entry.pool_uid) if self.is_ours(entry) else None

    def is_stranger(self, entry: RegistryEntry, listed_as: PoolKey | None) -> bool:
        """Whether an entry of a registry is about a pool of a namespace in which nobody names this broker."""
        key = self.key_of(entry) or listed_as
        return key is not None and key.namespace not in self.namespaces

    def is_strange(self, entry: RegistryEntry, namespace: str) -> bool:
        """Whether a process that says it is of this namespace cannot be one of this pool."""
        key = self.key_of(entry)
        return namespace not in self.namespaces if key is None else namespace != key.namespace


class Left(NamedTuple):
    """What a pool has left in a broker; since when that cannot be read, None where it can, or has not been tried."""

    unread_since: float | None
    place: Place
    entry: RegistryEntry
    pool: PoolHere
