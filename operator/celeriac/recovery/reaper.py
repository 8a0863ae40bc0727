"""Puts back what workers held that are certainly gone, at once instead of after a visibility timeout.

The loop only: it looks at each place by a task of its own, so that a slow broker delays nobody else's. A registry names
every worker process with the keys of its in-flight messages, whether or not its pool still exists. Restoring is
idempotent and safe to race: with the worker's own successor in the same Pod, and with another operator.
"""

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final

from celeriac.api.authority import Authority
from celeriac.api.notices import Teller
from celeriac.api.reasons import Reason
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.agents import Process, RegisteredPool, RegistryEntry
from celeriac.brokers.connect import place_of
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import Salvage
from celeriac.cluster.client import Api
from celeriac.connecting.connections import Connections
from celeriac.connecting.credentials import Credentials
from celeriac.recovery.acquaintances import Acquaintances, Notes
from celeriac.recovery.inquiry import ask
from celeriac.recovery.look import Look
from celeriac.recovery.orphans import Orphan, named_by_pods, orphans_of
from celeriac.recovery.place import HURRY_SECONDS, SCAN_SECONDS, Place
from celeriac.recovery.places import Addresses, Places
from celeriac.recovery.restorer import Restorer
from celeriac.recovery.tidings import Tidings
from celeriac.telemetry.metrics import Metrics
from celeriac.watching.store import KnownPool, Store
from celeriac.workers.custody import Custody

log = logging.getLogger(__name__)

USER: Final = "recovery"
"""Who it is that needs addresses and connections."""
FOLLOW_SECONDS: Final = 30.0
"""Pools and Pods are followed this often, at least: some of what is left is given up by time."""


class Reaper:
    """Restores in the background while it has the authority."""

    def __init__(
        self,
        *,
        api: Api,
        store: Store,
        credentials: Credentials,
        connections: Connections,
        metrics: Metrics,
        authority: Authority,
        custody: Custody,
        namespaces: Collection[str],
        sees_all: bool,
        teller: Teller,
        notes: Notes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`namespaces` are those whose Pods are known to this operator; empty: all.

        `sees_all`: all pools there are its own, none of them is left to another operator by its labels.
        """
        self._api = api
        self._store = store
        self._credentials = credentials
        self._connections = connections
        self._metrics = metrics
        self._authority = authority
        self._custody = custody
        self._namespaces = namespaces
        self._sees_all = sees_all
        self._clock = clock
        self._places = Places(place_of)
        self._acquaintances = Acquaintances(notes)
        self._tidings = Tidings(metrics, teller)
        self._orphans: list[Orphan] = []
        self._orphans_at = clock()
        self._orphans_version: int | None = None
        self._not_found: dict[Orphan, str] = {}
        self._followed: tuple[int, int] | None = None
        self._follow_at = -math.inf
        self._looking: dict[str, asyncio.Task[None]] = {}
        self._in_use: dict[str, set[BrokerAddress]] = {}

    async def run(self, seconds: float) -> None:
        """Look for ended workers for ever, every `seconds`."""
        while True:
            try:
                self._tick(self._clock())
            except Exception:
                log.exception("what ended workers held was not looked for, by a fault of the operator")
            await asyncio.sleep(seconds)

    async def settle(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._looking.values(), return_exceptions=True)

    def _tick(self, now: float) -> None:
        if self._authority.may_judge_pods:
            if self._must_follow(now):
                self._followed = self._store.pools_version, self._credentials.version
                self._follow_at = now + FOLLOW_SECONDS
                self._follow(now)
            for place in list(self._places.all.values()):
                if place.name not in self._looking and place.is_due(self._store, now):
                    self._looking[place.name] = asyncio.create_task(self._look_at(place))
        else:
            self._followed = None
            self._places.clear()
            self._acquaintances.clear()
            self._orphans, self._not_found = [], {}
            self._credentials.retain(USER, set())
            self._connections.retain(USER, set().union(*self._in_use.values()))
        self._publish()

    def _must_follow(self, now: float) -> bool:
        """Whether something has changed that `_follow` takes over."""
        if (self._store.pools_version, self._credentials.version) != self._followed or now >= self._follow_at:
            return True
        pods_changed = self._store.version != self._orphans_version
        return not self._acquaintances.is_complete or (pods_changed and now >= self._orphans_at)

    def _publish(self) -> None:
        self._custody.unresolved = self._places.unresolved()
        self._metrics.unread_registrations(self._places.doubts() + Counter(self._not_found.values()))
        self._metrics.strange_pools(self._places.strangers())

    def _follow(self, now: float) -> None:
        """Take over where pools and Pods say that their brokers are, and what credentials there are now."""
        pools = self._store.pools.values()
        is_new = self._acquaintances.meet(pools)
        if (is_new or now >= self._orphans_at) and self._acquaintances.is_complete:
            self._orphans_at, self._orphans_version = now + SCAN_SECONDS, self._store.version
            self._look_for_orphans(pools, now)
        sources = self._places.sources(pools, self._orphans)
        self._credentials.retain(USER, sources)
        addresses = {source: self._credentials.of(source) for source in sources}
        self._places.follow(pools, self._orphans, addresses)
        self._connections.retain(USER, self._places.addresses().union(*self._in_use.values()))
        self._tell_of_orphans(addresses, now)
        for left in self._places.give_up(now, self._looking):
            if left.pool.troubles:
                self._tidings.given_up(left.place, left.entry, left.pool)
        for place in list(self._places.all.values()):
            if place.name not in self._looking:
                self._places.leave(place)

    def _look_for_orphans(self, pools: Collection[KnownPool], now: float) -> None:
        """Find the brokers that only Pods name, and leave those alone that no pool is known to have named."""
        named = named_by_pods(pools, self._store.all_pods())
        self._acquaintances.keep(named)
        self._orphans = orphans_of(named, self._acquaintances.knows)
        if not self._sees_all:
            return  # the others may be of pools that another operator serves
        strange = {name: pod for name, pod in named.items() if not self._acquaintances.knows(*name)}
        self._metrics.strange_pods(len(strange))
        self._tidings.strange_pods({key: pod for (key, _), pod in strange.items()}, now)

    def _tell_of_orphans(self, addresses: Addresses, now: float) -> None:
        """Say of which Pods without their pool nobody can find the broker (any more)."""
        self._not_found = {}
        for orphan in self._orphans:
            doubt = self._places.why_not_found(orphan, addresses)
            if doubt is not None:
                self._not_found[orphan] = str(doubt.reason)
                self._tidings.not_found(orphan.pool, orphan.pod, doubt, now)

    async def _look_at(self, place: Place) -> None:
        pause = SCAN_SECONDS
        try:
            self._in_use[place.name] = {way.address for way in place.ways.values()}
            if await self._look(place):
                pause = HURRY_SECONDS
        except Exception:
            log.exception("what ended workers held could not be looked for, by a fault of the operator")
        finally:
            place.scan_at, place.version = self._clock() + pause, None
            if not place.pools or not all(pool.lives for pool in place.pools.values()):
                self._follow_at = -math.inf  # what was found may be the last of a pool, or of the place
            self._looking.pop(place.name, None)
            self._in_use.pop(place.name, None)

    async def _look(self, place: Place) -> bool:
        """Look once, and do what follows; True while somebody may soon be found gone."""
        look = Look(place, self._namespaces, self._clock())
        salvages = await self._read(look)
        answers = await ask(self._api, look.questions(self._store))
        findings = look.findings(self._store, answers)
        self._tidings.looked(place, look.list_doubts(), self._clock())
        place.unresolved = findings.unresolved
        self._publish()
        restorer = Restorer(place, look, salvages, self._authority, self._tidings, self._clock, sees_all=self._sees_all)
        for pool in await restorer.carry_out(findings):
            if pool.key is not None and self._store.pools.get(pool.key) is None:
                self._store.forget_ended(pool.key)
        self._publish()
        return findings.hurry

    async def _read(self, look: Look) -> Mapping[BrokerAddress, Salvage]:
        """List the registries, then read the pools, with all credentials at a time; what each of them leads to."""
        salvages: dict[BrokerAddress, Salvage] = {}

        async def list_them(address: BrokerAddress, registries: Collection[str]) -> None:
            salvage = self._connections.broker(address).salvage
            if salvage is not None:
                look.listed(address, await salvage.listed(registries))
                salvages[address] = salvage

        async def read_them(address: BrokerAddress, entries: Collection[RegistryEntry]) -> None:
            salvage = salvages.get(address)
            # A broker that redelivers by itself has no registry, so that nothing is registered.
            nothing = {entry: RegisteredPool() for entry in entries}
            look.registered(address, nothing if salvage is None else await salvage.registered(entries))

        async def ask_them(address: BrokerAddress, processes: Sequence[Process]) -> None:
            salvage = salvages.get(address)
            if salvage is not None:
                look.held(zip(processes, await salvage.held(processes), strict=True))

        await asyncio.gather(*(self._guard(look, each[0], list_them(*each)) for each in look.listings().items()))
        while reads := look.reads():
            await asyncio.gather(*(self._guard(look, each[0], read_them(*each)) for each in reads.items()))
        await asyncio.gather(*(self._guard(look, each[0], ask_them(*each)) for each in look.missing().items()))
        return salvages

    async def _guard(self, look: Look, address: BrokerAddress, work: Awaitable[None]) -> None:
        """Whatever goes wrong with one user's credentials is nothing to the others."""
        try:
            await work
        except BrokerDoubt as doubt:
            for source in look.failed(address, doubt):
                self._credentials.doubted(source, doubt.reason)
        except Exception as error:
            log.exception("a registry could not be read, by a fault of the operator")
            fault = f"a fault of the operator ({type(error).__name__}); see its log"
            look.failed(address, BrokerDoubt(Reason.BROKER_ERROR, fault))
