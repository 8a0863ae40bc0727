"""Which keys the queues of many pools are made of, and how to ask for all of them at once."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

from celeriac.brokers.readings import QueueSet
from celeriac.brokers.redis.keys import binding_key, dead_key, drain_key, list_key, reports_key
from celeriac.brokers.redis.part_queries import HashPart, Values
from celeriac.brokers.redis.queries import Count
from celeriac.brokers.redis.worker_reports import LONGEST_REPORT
from celeriac.pool.model import QueueLayout

# A script blocks Redis while it runs: one millisecond or less at this size.
QUEUES_PER_SCRIPT: Final = 500

MOST_MARKS: Final = 12_000
"""Marks of one pool that are read. A pool has 10,000 replicas at most, and marks of Pods that are gone are removed."""
LONGEST_MARK: Final = 1024
MARKS_BYTES: Final = 1024 * 1024
REPORT_BYTES: Final = 2048
"""What the reports of a pool may have for each of its Pods on the average; one has some 700."""

T = TypeVar("T")


class Queue(NamedTuple):
    """One queue as it is laid out; pools that share a queue share this."""

    layout: QueueLayout
    name: str

    @property
    def keys(self) -> tuple[str, ...]:
        """Its lists, one for each priority step (kombu's Channel._q_for_pri)."""
        return tuple(list_key(self.layout, self.name, step) for step in self.layout.priority_steps)


class Share(NamedTuple):
    """What shares one unacked hash and one set of bindings."""

    key_prefix: str
    separator: str

    @property
    def unacked_key(self) -> str:
        """The hash of what workers hold."""
        return f"{self.key_prefix}unacked"

    def binding_key(self, exchange: str) -> str:
        """The set of an exchange's bindings."""
        return binding_key(self.key_prefix, exchange)


class Agents(NamedTuple):
    """The hashes of one pool whose workers have the agent.

    The marks are read first: a worker without any report in the second reading had its mark before it ever looked.
    """

    drain_key: str
    reports_key: str

    def queries(self, pods: tuple[str, ...]) -> tuple[HashPart, Values]:
        """Ask for the marks, and for the reports of these Pods. Anybody may write others."""
        most = LONGEST_REPORT + len(pods) * REPORT_BYTES
        return (
            HashPart(self.drain_key, MOST_MARKS, LONGEST_MARK, MARKS_BYTES),
            Values(self.reports_key, pods, LONGEST_REPORT, most),
        )


def agents_of(pool: QueueSet) -> Agents | None:
    """Name the hashes of a pool's agents, if it has any."""
    if pool.agent is None:
        return None
    prefix = pool.layout.key_prefix
    return Agents(drain_key(prefix, pool.agent), reports_key(prefix, pool.agent))


def share_of(layout: QueueLayout) -> Share:
    """Name the share that a layout belongs to."""
    return Share(layout.key_prefix, layout.separator)


class Part(NamedTuple):
    """One queue of a pool: its name, and where its count and that of its dead letters stand (None: nobody asks)."""

    name: str
    place: int
    dead_place: int | None


class ReadingPlan:
    """The questions about a fixed set of pools, and whom the answers concern: pools by their place among them.

    `before` is the plan of a moment ago: most questions are the same, and packed already.
    """

    def __init__(self, pools: Sequence[QueueSet], before: "ReadingPlan | None" = None) -> None:
        self.pools = tuple(pools)
        by_layout: dict[QueueLayout, dict[str, None]] = {}
        for pool in self.pools:
            by_layout.setdefault(pool.layout, {}).update(dict.fromkeys(pool.queues))
        self.shares = tuple(dict.fromkeys(share_of(layout) for layout in by_layout))
        # The order of the queues is the order of the counts in all replies together.
        self.queues = tuple(Queue(layout, name) for layout, names in by_layout.items() for name in names)
        self.agents = tuple(agents_of(pool) for pool in self.pools)
        # Only pools with the agent make dead letters; the users of others need no right to look for them.
        self.dead_keys = tuple(
            dict.fromkeys(
                dead_key(pool.layout.key_prefix, name)
                for pool in self.pools
                if pool.agent is not None
                for name in pool.queues
            )
        )
        self.parts = self._parts()
        self._users = self._users_of_queues()
        self._dead_users = self._users_of_dead_letters()
        known = {} if before is None else {(query.keys, query.steps): query for query in before.all_counts}
        self.counts = [
            _known(known, Count(tuple(key for queue in some for key in queue.keys), len(layout.priority_steps)))
            for layout, names in by_layout.items()
            for some in _chunks(tuple(Queue(layout, name) for name in names))
        ]
        self.dead_counts = [_known(known, Count(some, 1)) for some in _chunks(self.dead_keys)]

    @property
    def all_counts(self) -> Sequence[Count]:
        """Those of queues and those of dead letters."""
        return [*self.counts, *self.dead_counts]

    def _parts(self) -> Sequence[Sequence[Part]]:
        """Of each pool."""
        places = {queue: place for place, queue in enumerate(self.queues)}
        dead = {key: place for place, key in enumerate(self.dead_keys)}
        return [
            [
                Part(
                    name,
                    places[Queue(pool.layout, name)],
                    None if pool.agent is None else dead[dead_key(pool.layout.key_prefix, name)],
                )
                for name in pool.queues
            ]
            for pool in self.pools
        ]

    def users(self, share: Share, name: str) -> Sequence[int]:
        """The pools that work on a queue of this name."""
        return self._users.get((share, name), ())

    def users_of_count(self, place: int) -> Sequence[int]:
        """Whom the count at this place concerns."""
        queue = self.queues[place]
        return self.users(share_of(queue.layout), queue.name)

    def users_of_dead_count(self, place: int) -> Sequence[int]:
        """Whom the count of dead letters at this place concerns."""
        return self._dead_users[place]

    def _users_of_dead_letters(self) -> Sequence[Sequence[int]]:
        users: list[list[int]] = [[] for _ in self.dead_keys]
        for number, parts in enumerate(self.parts):
            for part in parts:
                if part.dead_place is not None:
                    users[part.dead_place].append(number)
        return users

    def _users_of_queues(self) -> Mapping[tuple[Share, str], Sequence[int]]:
        users: dict[tuple[Share, str], list[int]] = {}
        for number, pool in enumerate(self.pools):
            share = share_of(pool.layout)
            for name in pool.queues:
                users.setdefault((share, name), []).append(number)
        return users


def _known(known: Mapping[tuple[tuple[str, ...], int], Count], query: Count) -> Count:
    """The same question as it was asked before, if it was."""
    return known.get((query.keys, query.steps), query)


def _chunks(items: tuple[T, ...]) -> list[tuple[T, ...]]:
    return [items[i : i + QUEUES_PER_SCRIPT] for i in range(0, len(items), QUEUES_PER_SCRIPT)]
