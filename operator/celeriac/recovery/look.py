"""One look at a place: what is to be read, what has to be asked, who is gone. No I/O and no clock.

look = Look(place, namespaces, now)
for address, registries in look.listings(): look.listed(address, ...)      # or look.failed(address, doubt)
while reads := look.reads(): look.registered(address, ...)                 # or look.failed(address, doubt)
for address, processes in look.missing().items(): look.held(...)           # or look.failed(address, doubt)
findings = look.findings(store, ask(look.questions(store)))

What is wrong with one pool, or with one pool's credentials, is that pool's alone.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from celeriac.api.keys import PoolKey
from celeriac.api.reasons import Reason
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.agents import Process, RegisteredPool, RegistryEntry, RegistryList
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.cluster.records import PodRecord
from celeriac.connecting.credentials import BrokerSource
from celeriac.recovery.gone import Answers, Question, Verdict, judge, question, seems_ended
from celeriac.recovery.lost import MOST, with_lost
from celeriac.recovery.place import Place, PoolHere
from celeriac.recovery.readers import Readers
from celeriac.recovery.sightings import Name, Sighting, name_of
from celeriac.watching.store import Store


@dataclass(frozen=True, slots=True)
class Findings:
    """What a look has shown.

    gone        processes whose messages are to be put back
    unresolved  uids of pools of which nobody knows that they hold nothing
    take_overs  pools whose queues are to be looked for in what plain workers left
    forgotten   pools of which nothing is left here
    hurry       somebody may soon be found gone
    """

    gone: tuple[tuple[Process, Verdict], ...]
    unresolved: frozenset[str]
    take_overs: tuple[RegistryEntry, ...]
    forgotten: tuple[RegistryEntry, ...]
    hurry: bool


class Look:
    """See above. `namespaces` are those that this operator serves; empty: all."""

    def __init__(self, place: Place, namespaces: Collection[str], now: float) -> None:
        self._place = place
        self._namespaces = namespaces
        self._now = now
        self._readers = Readers(place, now)
        self._entries = set(place.pools)
        self._listed: dict[RegistryEntry, PoolKey | None] = {}
        self._lists: dict[str, RegistryList] = {}
        self._found: dict[RegistryEntry, RegisteredPool] = {}
        self._reader: dict[RegistryEntry, BrokerAddress] = {}
        self._left: set[Name] = set()
        self._sightings: Mapping[Name, Sighting] = {}
        self._pods: Mapping[Name, PodRecord | None] = {}

    def listings(self) -> dict[BrokerAddress, frozenset[str]]:
        """Which registries to list with whose credentials."""
        return self._readers.listings()

    def listed(self, address: BrokerAddress, lists: Mapping[str, RegistryList]) -> None:
        """Take over the lists. A registry is listed once somebody may read its list."""
        self._readers.answered(address)
        for registry, found in lists.items():
            before = self._lists.get(registry)
            if before is None or (before.doubts and not found.doubts):
                self._lists[registry] = found
            self._listed |= {RegistryEntry(registry, uid): key for uid, key in found.pools.items()}

    def failed(self, address: BrokerAddress, doubt: BrokerDoubt) -> list[BrokerSource]:
        """The broker as a whole was in doubt with these credentials; returns where they came from."""
        return self._readers.failed(address, doubt)

    def reads(self) -> dict[BrokerAddress, list[RegistryEntry]]:
        """Which pools to read next with whose credentials: their own, or those of others where these are refused."""
        self._note_unseen()
        reads: dict[BrokerAddress, list[RegistryEntry]] = {}
        for entry in self._entries & self._place.pools.keys():
            address = self._readers.next(entry, self._found.get(entry))
            if address is not None:
                reads.setdefault(address, []).append(entry)
        return reads

    def registered(self, address: BrokerAddress, found: Mapping[RegistryEntry, RegisteredPool]) -> None:
        """Take over what was read, but for processes that cannot be of their pool."""
        for entry, pool in ((entry, self._heeded(entry, pool)) for entry, pool in found.items()):
            before = self._found.get(entry)
            if before is None or len(pool.doubts) < len(before.doubts):
                self._found[entry], self._reader[entry] = pool, address

    def _heeded(self, entry: RegistryEntry, found: RegisteredPool) -> RegisteredPool:
        """Nobody is asked about a process that names a namespace which is not its pool's, and nothing is moved."""
        served = [each for each in found.processes if self._serves(each.namespace)]
        strange = [each for each in served if self._place.is_strange(entry, each.namespace)]
        if not strange:
            return found
        doubt = BrokerDoubt(
            Reason.REGISTRATION_UNREADABLE,
            f"{len(strange)} workers that are registered for it are not heeded, the first is {strange[0].process} of"
            f" namespace {strange[0].namespace}, where no pool names {self._place.name}: something else writes there;"
            " end that, and remove them with HDEL",
        )
        known = tuple(each for each in found.processes if each not in strange)
        return replace(found, processes=known, doubts=(*found.doubts, doubt))

    def missing(self) -> dict[BrokerAddress, list[Process]]:
        """Of which processes, that were registered and are not any more, to read what they hold."""
        asked: dict[BrokerAddress, list[Process]] = {}
        for entry, pool in self._pools():
            missed = self._missing(entry, pool)
            if missed:
                asked.setdefault(self._reader[entry], []).extend(missed[:MOST])
        return asked

    def held(self, held: Iterable[tuple[Process, int | BrokerDoubt]]) -> None:
        """Take over what missing processes hold, or why that is not known; who holds nothing has left in good order."""
        self._left |= {name_of(process) for process, count in held if count == 0}

    def _missing(self, entry: RegistryEntry, pool: PoolHere) -> list[Process]:
        """Processes that were registered at the last look, have not left, and are not registered now."""
        found = self._found.get(entry)
        if found is None or not found.whole:
            return []
        names = {each.process for each in found.processes}
        return [each for each in pool.known if each.process not in names and name_of(each) not in self._left]

    def questions(self, store: Store) -> set[Question]:
        """What to ask the API server. Notes what each pool has, and who is silent since when."""
        for entry, pool in self._pools():
            found = self._found.get(entry)
            if found is not None:
                found = self._found[entry] = with_lost(found, self._missing(entry, pool), self._place.name)
                pool.known = found.processes
            pool.learn(found, found.doubts if found is not None else (self._readers.doubt_of(entry),), self._now)
        self._pods = {name_of(each): _pod_of(each, store) for each in self._processes()}
        audible = list(self._processes(audible=True))
        self._sightings = self._place.sightings.look(audible, self._ends(store), self._now)
        asked = {question(process, self._pods[name_of(process)], self._sighting(process)) for process in audible}
        return {each for each in asked if each is not None}

    def findings(self, store: Store, answers: Answers) -> Findings:
        """Who is gone, and what follows."""
        gone: list[tuple[Process, Verdict]] = []
        unresolved = {entry.pool_uid for entry, pool in self._pools() if pool.troubles and self._is_ours(entry)}
        hurry = False
        for process in self._processes():
            pod = self._pods[name_of(process)]  # as it was when its end was put in order
            ended = process.pod_uid in store.ended(PoolKey(process.namespace, process.pool))
            verdict = judge(process, pod, answers, self._sighting(process), ended=ended)
            if verdict is not None:
                gone.append((process, verdict))
            elif seems_ended(process, pod, self._sighting(process)):
                hurry = True
                unresolved |= {process.pool_uid} if self._is_ours(process.entry) else set()
        self._place.listed = set(self._listed)
        return Findings(
            gone=tuple(gone),
            unresolved=frozenset(unresolved),
            take_overs=tuple(
                entry for entry, pool in self._pools() if entry in self._found and pool.takes_over(self._now)
            ),
            forgotten=tuple(
                entry for entry, _ in self._pools() if entry in self._found and self._is_left(entry, store)
            ),
            hurry=hurry,
        )

    def reader(self, entry: RegistryEntry) -> BrokerAddress:
        """Whose credentials have read a pool."""
        return self._reader[entry]

    def list_doubts(self) -> list[tuple[str, BrokerDoubt]]:
        """Registries whose list cannot be read or understood: a deleted pool may not be found.

        Where no pool has, or had, the agent, nobody needs the right to read it.
        """
        used = {entry.registry for entry, pool in self._pools() if pool.had_agents}
        doubts = [(registry, doubt) for registry, found in self._lists.items() for doubt in found.doubts]
        return [each for each in doubts if each[0] in used or each[1].reason != Reason.BROKER_PERMISSION_DENIED]

    def _note_unseen(self) -> None:
        """Pools that a registry lists and this operator has not seen, but none of namespaces that others serve.

        Anybody may write there: a pool of a namespace in which nobody names this broker is a stranger. A pool that
        exists has the name that the cluster gives it.
        """
        strangers = []
        for entry, listed_as in self._listed.items():
            key = self._place.key_of(entry) or listed_as
            if key is not None and not self._serves(key.namespace):
                continue
            if self._place.is_stranger(entry, listed_as):
                strangers.append(entry)
                continue
            pool = self._place.pools.setdefault(entry, PoolHere())
            pool.key = pool.key or key
            self._entries.add(entry)
        self._place.strangers = tuple(strangers)

    def _pools(self) -> list[tuple[RegistryEntry, PoolHere]]:
        """Those that this look is about: others may come while it waits for an answer."""
        return [(entry, pool) for entry, pool in self._place.pools.items() if entry in self._entries]

    def _processes(self, *, audible: bool = False) -> Iterable[Process]:
        """All processes that this operator serves; with `audible`, those only whose reports could be read."""
        for found in self._found.values():
            if found.audible or not audible:
                yield from (each for each in found.processes if self._serves(each.namespace))

    def _ends(self, store: Store) -> dict[RegistryEntry, dict[str, str]]:
        """By pool whose reports could be heard: which container of each of its Pods ended last."""
        ends: dict[RegistryEntry, dict[str, str]] = {}
        for entry, pool in self._pools():
            found = self._found.get(entry)
            if found is not None and found.audible:
                named = (self._pods.get(name_of(each)) for each in found.processes)
                pods = [*(store.pods(pool.key) if pool.key else ()), *named]
                ends[entry] = {pod.uid: pod.last_end for pod in pods if pod is not None and pod.last_end is not None}
        return ends

    def _sighting(self, process: Process) -> Sighting:
        """What is known of it; where nobody could hear it, that it has just been heard."""
        return self._sightings.get(name_of(process), Sighting())

    def _serves(self, namespace: str) -> bool:
        return not self._namespaces or namespace in self._namespaces

    def _is_ours(self, entry: RegistryEntry) -> bool:
        return self._place.is_ours(entry)

    def _is_left(self, entry: RegistryEntry, store: Store) -> bool:
        """Whether a pool that is deleted or has moved is done with here: nothing is registered nor left to run."""
        pool, found = self._place.pools[entry], self._found[entry]
        if pool.lives or found.processes or found.doubts or self._place.is_named(entry.registry, pool.key):
            return False
        return pool.key is None or store.pools.get(pool.key) is not None or not store.pods(pool.key)


def _pod_of(process: Process, store: Store) -> PodRecord | None:
    """The Pod that a process names; one of another namespace is not its own."""
    pod = store.pod(process.pod_uid)
    return pod if pod is not None and pod.key.namespace == process.namespace else None
