"""What is known of all pools of a plan, from reading to reading: only what has changed is put together anew."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple, TypeVar

from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.readings import Durability, PoolReading, QueueReading, QueueSet
from celeriac.brokers.redis.agent_hashes import AgentHashes
from celeriac.brokers.redis.counts import Counts
from celeriac.brokers.redis.errors import queue_doubt
from celeriac.brokers.redis.message_queries import Entries, Peek
from celeriac.brokers.redis.queries import Query
from celeriac.brokers.redis.reading_plan import Agents, Queue, ReadingPlan, Share, share_of
from celeriac.brokers.redis.resting import RestingEtas
from celeriac.brokers.redis.shares import ShareReader
from celeriac.brokers.redis.unacked import Holdings

DEAD_SECONDS: Final = 2.0
"""Dead letters are counted this often."""

K = TypeVar("K")
V = TypeVar("V")


class Server(NamedTuple):
    """What holds for all pools of one server."""

    durability: Durability | None = None
    refusal: BrokerDoubt | None = None


class _Kept(NamedTuple):
    """What one board takes over from another."""

    shares: Mapping[Share, ShareReader] = {}
    etas: Mapping[Queue, RestingEtas] = {}
    hashes: Mapping[Agents, AgentHashes] = {}
    readings: Mapping[QueueSet, PoolReading | BrokerDoubt | None] = {}


class Board:
    """The last answers about each pool. What they add up to is the same object as long as nothing of it changes."""

    def __init__(
        self, plan: ReadingPlan, where: str, clock: Callable[[], float], before: "Board | None" = None
    ) -> None:
        """`clock` is monotonic, in seconds; `where` names the server without credentials.

        `before` is the board of the plan before: what it knows of pools and queues that are still there is kept.
        """
        self.plan = plan
        self._where = where
        self._clock = clock
        known = _Kept() if before is None else before._kept()
        self.shares = _kept(known.shares, plan.shares, lambda share: ShareReader(share, where, clock))
        self._etas = {place: known.etas[queue] for place, queue in enumerate(plan.queues) if queue in known.etas}
        agents = [each for each in plan.agents if each is not None]
        self._hashes = _kept(known.hashes, agents, lambda each: AgentHashes(each, clock))
        self._readings: list[PoolReading | BrokerDoubt | None] = [known.readings.get(pool) for pool in plan.pools]
        self._counts, self._dead = Counts(plan.counts), Counts(plan.dead_counts)
        self._dead_at = float("-inf")
        self._holdings: dict[Share, Holdings | BrokerDoubt] = {}
        self._server = Server()
        self._asked: Sequence[tuple[int, AgentHashes]] = ()
        self._new_entries: Sequence[Sequence[Entries]] = ()
        self._filled: set[int] = set()
        self._stale = set(range(len(plan.pools)))
        self._of_pools = [None if agents is None else self._hashes[agents] for agents in plan.agents]

    def _kept(self) -> "_Kept":
        """For the board of the next plan."""
        etas = {self.plan.queues[place]: found for place, found in self._etas.items()}
        return _Kept(self.shares, etas, self._hashes, dict(zip(self.plan.pools, self._readings, strict=True)))

    def questions(self, pools: Sequence[QueueSet]) -> Sequence[Sequence[Query]]:
        """What is to be asked first; `pools` are those of the plan, with the Pods that each has now."""
        asked: list[tuple[int, AgentHashes]] = []
        hashes: list[Query] = []
        for number, (pool, of_pool) in enumerate(zip(pools, self._of_pools, strict=True)):
            if of_pool is not None and (queries := of_pool.queries(pool.pods)):
                asked.append((number, of_pool))
                hashes += queries
        self._asked = asked
        tags = [share.tags_query() for share in self.shares.values()]
        dead = self._dead.queries if self._clock() >= self._dead_at else ()
        return self._counts.queries, tags, dead, hashes

    def note(self, counts: Sequence[Any], tags: Sequence[Any], dead: Sequence[Any], hashes: Sequence[Any]) -> None:
        """Take over the answers. Raises what Redis answered to a whole question about counts."""
        for place in self._counts.note(counts):
            self._counted(place)
        if dead:
            for place in self._dead.note(dead):
                self._stale.update(self.plan.users_of_dead_count(place))
            self._dead_at = self._clock() + DEAD_SECONDS
        for (number, of_pool), marks, reports in zip(self._asked, hashes[::2], hashes[1::2], strict=True):
            if of_pool.note((marks, reports)):
                self._stale.add(number)
        self._new_entries = [share.note_tags(reply) for share, reply in zip(self.shares.values(), tags, strict=True)]

    def entries(self) -> Sequence[Sequence[Entries]]:
        """What is to be asked of each share then: entries that are new there."""
        return self._new_entries

    def peeks(self, most: int) -> list[tuple[int, Peek]]:
        """Queues, by their place, in which ETA tasks are to be looked for; so many at most."""
        found = []
        for place in sorted(self._filled):
            count = self._counts.values[place]
            if isinstance(count, int) and (query := self._etas[place].query(count)):
                found.append((place, query))
        return found[:most]

    def note_peek(self, place: int, reply: Any) -> None:
        """Take over what was found in a queue."""
        count = reply if isinstance(reply, Exception) else self._etas[place].note(reply)
        self._counts.correct(place, count)
        self._counted(place)

    def readings(self, server: Server, now: float) -> Sequence[PoolReading | BrokerDoubt]:
        """What all answers add up to at the Unix time `now`, for each pool."""
        if server != self._server:
            self._server, self._stale = server, set(range(len(self._readings)))
        for share, reader in self.shares.items():
            self._hold(share, reader.holdings(now))
        for place in self._filled:
            if self._etas[place].has_etas:  # what is due changes with the time
                self._stale.update(self.plan.users_of_count(place))
        doubts = set()
        for number in self._stale:
            before, made = self._readings[number], self._made(number, now)
            if isinstance(made, BrokerDoubt):
                doubts.add(number)
            self._readings[number] = before if made == before else made
        self._stale = doubts
        return [reading for reading in self._readings if reading is not None]

    def _counted(self, place: int) -> None:
        """A queue has another count now."""
        self._stale.update(self.plan.users_of_count(place))
        if self._counts.values[place] == 0:
            self._filled.discard(place)
            return
        self._filled.add(place)
        if place not in self._etas:
            self._etas[place] = RestingEtas(self.plan.queues[place].keys, self._clock)

    def _hold(self, share: Share, holdings: Holdings | BrokerDoubt) -> None:
        before, self._holdings[share] = self._holdings.get(share), holdings
        if before == holdings:
            return
        if isinstance(holdings, BrokerDoubt) or not isinstance(before, Holdings) or before.exact != holdings.exact:
            of_share = (share_of(pool.layout) == share for pool in self.plan.pools)
            self._stale.update(number for number, is_of_it in enumerate(of_share) if is_of_it)
            return
        names = _differing(before.held, holdings.held) | _differing(before.scheduled, holdings.scheduled)
        self._stale.update(chain.from_iterable(self.plan.users(share, name) for name in names))

    def _made(self, number: int, now: float) -> PoolReading | BrokerDoubt:
        pool, of_pool = self.plan.pools[number], self._of_pools[number]
        held = self._holdings[share_of(pool.layout)]
        if isinstance(held, BrokerDoubt):
            return held
        queues: dict[str, QueueReading] = {}
        for part in self.plan.parts[number]:
            count, dead = (
                self._counts.values[part.place],
                0 if part.dead_place is None else self._dead.values[part.dead_place],
            )
            if isinstance(count, Exception):
                return queue_doubt(count, self.plan.queues[part.place].keys[0], "list", self._where)
            if isinstance(dead, Exception):
                return queue_doubt(dead, self.plan.dead_keys[part.dead_place or 0], "list", self._where)
            etas = self._etas.get(part.place)
            deferred = 0 if etas is None else etas.deferred(count, now)
            queues[part.name] = QueueReading(
                waiting=count - deferred,
                held=held.held.get(part.name, 0),
                scheduled=held.scheduled.get(part.name, 0),
                deferred=deferred,
                dead=dead,
                next_eta=None if etas is None else etas.next_eta(count, now),
            )
        if of_pool is not None and (refusal := of_pool.refusal) is not None:
            return queue_doubt(refusal[1], refusal[0], "hash", self._where)
        etas_of_all = [each.next_eta for each in queues.values() if each.next_eta is not None]
        reports, unreadable, marks = ({}, frozenset(), {}) if of_pool is None else of_pool.read()
        return PoolReading(
            queues,
            held.exact,
            reports,
            unreadable,
            marks,
            min(etas_of_all) - now if etas_of_all else None,
            self._server.durability,
            self._server.refusal,
        )


def _kept(known: Mapping[K, V], keys: Iterable[K], make: Callable[[K], V]) -> dict[K, V]:
    """What there was for each key; made where there was nothing."""
    return {key: known[key] if key in known else make(key) for key in keys}


def _differing(before: Mapping[str, int], now: Mapping[str, int]) -> set[str]:
    """The queues of which another number is held now."""
    return {name for name, _ in before.items() ^ now.items()}
