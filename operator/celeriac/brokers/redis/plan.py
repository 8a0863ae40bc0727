"""Which keys the queues of many pools are made of, and how to ask for all of them at once."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from celeriac.brokers.redis.queries import Count
from celeriac.brokers.types import QueueSet
from celeriac.pool.model import QueueLayout

# A script blocks Redis while it runs: one millisecond or less at this size.
QUEUES_PER_SCRIPT: Final = 500


class Queue(NamedTuple):
    """One queue as it is laid out; pools that share a queue share this."""

    layout: QueueLayout
    name: str

    @property
    def keys(self) -> tuple[str, ...]:
        """Its lists, one for each priority step (kombu's Channel._q_for_pri)."""
        prefix, separator = self.layout.key_prefix, self.layout.separator
        return tuple(
            f"{prefix}{self.name}{separator}{step}" if step else f"{prefix}{self.name}"
            for step in self.layout.priority_steps
        )


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
        return f"{self.key_prefix}_kombu.binding.{exchange}"


def share_of(layout: QueueLayout) -> Share:
    """Name the share that a layout belongs to."""
    return Share(layout.key_prefix, layout.separator)


class Plan:
    """The queries for a fixed set of pools."""

    def __init__(self, pools: Sequence[QueueSet]) -> None:
        self.pools = tuple(pools)
        by_layout: dict[QueueLayout, dict[Queue, None]] = {}
        for pool in self.pools:
            by_layout.setdefault(pool.layout, {}).update((Queue(pool.layout, name), None) for name in pool.queues)
        self.shares = tuple(dict.fromkeys(share_of(layout) for layout in by_layout))
        # The order of the queues is the order of the counts in all replies together.
        self.queues = tuple(queue for queues in by_layout.values() for queue in queues)
        self.counts = [
            Count(tuple(key for queue in some for key in queue.keys), len(layout.priority_steps))
            for layout, queues in by_layout.items()
            for some in _chunks(tuple(queues))
        ]


def _chunks(queues: tuple[Queue, ...]) -> list[tuple[Queue, ...]]:
    return [queues[i : i + QUEUES_PER_SCRIPT] for i in range(0, len(queues), QUEUES_PER_SCRIPT)]
