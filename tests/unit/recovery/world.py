"""Pods, Secrets and registries as values, and looks at them as the operator takes them, in virtual time.

world = World(); world.pool(url="redis://redis:6379/0"); world.worker("a")
world.vanish("a"); world.live(40); world.gone      # [("ml-a", "its Pod is gone")]
"""

from dataclasses import replace
from typing import Any

from celeriac.api.keys import PoolKey
from celeriac.api.reasons import Reason
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.agents import Process, RegisteredPool, RegistryEntry, RegistryList
from celeriac.brokers.connect import place_of
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.connecting.credentials import BrokerSource
from celeriac.pool.model import BrokerSpec, QueueLayout
from celeriac.recovery.gone import PodQuestion, Question
from celeriac.recovery.look import Findings, Look
from celeriac.recovery.orphans import named_by_pods, orphans_of
from celeriac.recovery.place import HURRY_SECONDS, SCAN_SECONDS, Place, PoolHere
from celeriac.recovery.places import Places
from celeriac.watching.store import Store
from tests.unit.builders.cluster import pod_body, pool_body
from tests.unit.builders.workers import KEY, process

TICK = 0.5
URL = "redis://redis:6379/0"
DENIED = BrokerDoubt(Reason.BROKER_PERMISSION_DENIED, "may not read key 'celeriac:pool:processes'")
REFUSED = BrokerDoubt(Reason.BROKER_AUTHENTICATION_FAILED, "refused the user or password")
AWAY = BrokerDoubt(Reason.BROKER_CONNECTION_FAILED, "cannot be reached")


class World:
    """Workers report every second while they live.

    secrets  what the key `url` of each Secret holds, or why it cannot be read
    down     URLs that fail as a whole, and why
    denied   pools that a URL's user may not read
    doubts   what of a pool is not known, whoever reads
    deaf     pools whose reports cannot be read
    unregistered  workers whose registration somebody removed
    away     whether the API server gives no answer
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.store = Store(lambda _: None)
        self.places = Places(place_of)
        self.secrets: dict[str, str | BrokerDoubt] = {}
        self.down: dict[str, BrokerDoubt] = {}
        self.denied: set[tuple[str, str]] = set()
        self.doubts: dict[str, BrokerDoubt] = {}
        self.deaf: set[str] = set()
        self.unregistered: set[str] = set()
        self.away = False
        self.namespaces: tuple[str, ...] = ()
        self.workers: dict[str, tuple[str, Process, bool]] = {}
        self.listed: dict[tuple[str, str], set[str]] = {}
        self.keys: dict[str, PoolKey] = {}
        self.asked: list[Question] = []
        self.gone: list[tuple[str, str]] = []
        self.given_up: list[tuple[RegistryEntry, PoolHere]] = []
        self.read_with: list[str] = []
        self.last: dict[str, Findings] = {}

    def pool(self, name: str = KEY.name, uid: str = "pool", **broker: Any) -> None:
        """Make or change a pool."""
        self.store.pool_event(pool_body(name, uid, **(broker or {"url": URL})), deleted=False)

    def pod(self, name: str, pool: str, broker: BrokerSpec, namespace: str = KEY.namespace) -> None:
        """A Pod of a pool in which no worker is."""
        self.store.pod_event(pod_body(name, name, pool=pool, namespace=namespace, broker=broker), deleted=False)

    def delete_pool(self, name: str = KEY.name) -> None:
        self.store.pool_event(pool_body(name), deleted=True)

    def worker(
        self,
        name: str,
        pool: str = KEY.name,
        uid: str = "pool",
        *,
        url: str = URL,
        prefix: str = "",
        broker: BrokerSpec | None = None,
        **fields: Any,
    ) -> Process:
        """A Pod that runs, with a registered process that reports."""
        place = place_of(BrokerAddress(url))
        made = process(name, pool=pool, pool_uid=uid, layout=QueueLayout(prefix), reported=1, **fields)
        self.workers[name] = place, made, True
        self.keys.setdefault(uid, PoolKey(made.namespace, made.pool))
        self.listed.setdefault((place, prefix), set()).add(uid)
        self.store.pod_event(pod_body(made.pod, name, pool=pool, broker=broker), deleted=False)
        return made

    def vanish(self, name: str, *, reports: bool = False) -> None:
        """Its Pod is deleted by force; what runs in it reports no more, or goes on."""
        place, made, _ = self.workers[name]
        self.workers[name] = place, made, reports
        self.store.pod_event(pod_body(made.pod, name, pool=made.pool), deleted=True)

    def end(self, name: str) -> None:
        """Its Pod ends, and is gone."""
        place, made, _ = self.workers[name]
        self.workers[name] = place, made, False
        ended = pod_body(made.pod, name, pool=made.pool, ended_at="2026-01-01T00:00:00Z", has_ended=True)
        self.store.pod_event(ended, deleted=False)
        self.store.pod_event(ended, deleted=True)

    def live(self, seconds: float, tick: float = TICK) -> None:
        """Tick for so long, and obey: who is gone has nothing registered any more."""
        for _ in range(round(seconds / tick)):
            self.now += tick
            self._report()
            self.tick()

    def tick(self) -> None:
        """Follow what pools and Pods say, and look at each place that is due."""
        pools = self.store.pools.values()
        orphans = orphans_of(named_by_pods(pools, self.store.all_pods()), lambda *_: True)
        sources = self.places.sources(pools, orphans)
        self.places.follow(pools, orphans, {source: self._address(source) for source in sources})
        self.given_up += [(each.entry, each.pool) for each in self.places.give_up(self.now)]
        for place in list(self.places.all.values()):
            if not self.places.leave(place) and place.is_due(self.store, self.now):
                self.obey(place, self.look(place))

    def look(self, place: Place) -> Findings:
        """One look."""
        look = Look(place, self.namespaces, self.now)
        for address, registries in look.listings().items():
            if address.url in self.down:
                look.failed(address, self.down[address.url])
            else:
                lists = {name: self.listed.get((place.name, name), set()) for name in registries}
                look.listed(
                    address,
                    {name: RegistryList({uid: self.keys.get(uid) for uid in uids}) for name, uids in lists.items()},
                )
        while reads := look.reads():
            for address, entries in reads.items():
                self.read_with.append(address.url)
                look.registered(address, {entry: self._registered(place.name, address.url, entry) for entry in entries})
        for processes in look.missing().values():
            look.held([(each, int(each.pod_uid in self.workers)) for each in processes])
        questions = look.questions(self.store)
        self.asked += questions
        answers = {} if self.away else {each: self._is_gone(each) for each in questions}
        self.last[place.name] = look.findings(self.store, answers)
        place.scan_at = self.now + (HURRY_SECONDS if self.last[place.name].hurry else SCAN_SECONDS)
        return self.last[place.name]

    def obey(self, place: Place, findings: Findings) -> None:
        """All that is found gone is put back, and a pool of which nothing is left is forgotten."""
        place.unresolved = findings.unresolved
        for each, verdict in findings.gone:
            self.gone.append((each.pod, verdict.why))
            del self.workers[each.pod_uid]
        for entry in findings.forgotten:
            self.listed.get((place.name, entry.registry), set()).discard(entry.pool_uid)
            del place.pools[entry]

    @property
    def unresolved(self) -> set[str]:
        return set(self.places.unresolved())

    def _address(self, source: BrokerSource) -> BrokerAddress | BrokerDoubt:
        if source.broker.url_from is None:
            return BrokerAddress(source.broker.url or "")
        url = self.secrets[source.broker.url_from.name]
        return url if isinstance(url, BrokerDoubt) else BrokerAddress(url, None, source.broker.sentinel_master)

    def _list(self, place: str, registry: str) -> RegistryList:
        return RegistryList({uid: self.keys.get(uid) for uid in self.listed.get((place, registry), set())})

    def _registered(self, place: str, url: str, entry: RegistryEntry) -> RegisteredPool:
        if (url, entry.pool_uid) in self.denied:
            return RegisteredPool(audible=False, doubts=(DENIED,))
        doubts = (self.doubts[entry.pool_uid],) if entry.pool_uid in self.doubts else ()
        audible = entry.pool_uid not in self.deaf
        there = [made for where, made, _ in self.workers.values() if where == place and made.entry == entry]
        here = [each for each in there if each.pod_uid not in self.unregistered]
        known = here if audible else [replace(each, reported=None) for each in here]
        beside = {each.process: each.reported for each in there if each not in here and each.reported is not None}
        return RegisteredPool(tuple(known), audible, doubts, beside)

    def _is_gone(self, question: Question) -> bool:
        """The API server knows the Pods that the store knows, and all nodes."""
        return isinstance(question, PodQuestion) and self.store.pod(question.uid) is None

    def _report(self) -> None:
        for name, (place, made, reports) in self.workers.items():
            if reports:
                self.workers[name] = place, replace(made, reported=(made.reported or 0) + 1), True
