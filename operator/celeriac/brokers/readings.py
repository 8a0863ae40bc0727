"""What a broker says of many pools' queues at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from celeriac.brokers.agents import WorkerReport
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.pool.model import QueueLayout


@dataclass(frozen=True, slots=True)
class QueueSet:
    """The queues of one pool and how they are laid out.

    agent  the pool's uid where its workers have the agent
    pods   uids of its Pods: whose reports are to be read. They come and go, and do not make it another set of queues
    """

    queues: tuple[str, ...]
    layout: QueueLayout = field(default_factory=QueueLayout)
    agent: str | None = None
    pods: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class QueueReading:
    """One queue at one moment, in messages.

    waiting    in the queue's lists, all priority steps together, `deferred` left out
    held       delivered to some worker and not acknowledged, ETA messages that are due included
    scheduled  delivered to some worker that keeps them for an ETA that has not come
    deferred   in the queue's lists with an ETA that has not come: a worker that stops puts its scheduled ones back.
               Only a short list is looked through; in a longer one all messages count as waiting
    dead       dead letters of the queue: its workers died of them too often, or nobody knows whose they are
    next_eta   Unix time at which the first of the deferred ones falls due; None when there is none

    Workers with the agent keep what is delivered to them under keys of their own and report it: of their queues, held
    and scheduled are what other workers hold.
    """

    waiting: int
    held: int = 0
    scheduled: int = 0
    deferred: int = 0
    dead: int = 0
    next_eta: float | None = None


def has_messages(queue: QueueReading) -> bool:
    """Whether there is any message of it."""
    return bool(queue.waiting or queue.held or queue.scheduled or queue.deferred or queue.dead)


class Durability(NamedTuple):
    """Whether the broker keeps what nobody deletes; `message` says how that is, and the cure where it does not."""

    holds: bool
    message: str


@dataclass(frozen=True, slots=True)
class PoolReading:
    """All queues of one pool. `exact` is False where held and scheduled are estimates from a bounded sample.

    reports           what the pool's agents said last, by pod uid
    unreadable        pod uids whose report cannot be understood
    marks             drain tokens as they stand in the broker, by pod uid
    durability        None where the broker does not tell
    refusal           what the broker refuses although it can be read; None where it takes what is written
    next_eta_seconds  until the first deferred message of all queues falls due, by the broker's clock
    """

    queues: Mapping[str, QueueReading] = field(default_factory=dict)
    exact: bool = True
    reports: Mapping[str, WorkerReport] = field(default_factory=dict)
    unreadable: frozenset[str] = frozenset()
    marks: Mapping[str, str] = field(default_factory=dict)
    next_eta_seconds: float | None = None
    durability: Durability | None = None
    refusal: BrokerDoubt | None = None

    @property
    def waiting(self) -> int:
        """Messages in the lists of all queues."""
        return sum(queue.waiting for queue in self.queues.values())

    @property
    def held(self) -> int:
        """Messages at workers, due."""
        return sum(queue.held for queue in self.queues.values())

    @property
    def scheduled(self) -> int:
        """Messages at workers, not yet due."""
        return sum(queue.scheduled for queue in self.queues.values())

    @property
    def deferred(self) -> int:
        """Messages in the lists, not yet due."""
        return sum(queue.deferred for queue in self.queues.values())

    @property
    def dead(self) -> int:
        """Dead letters of all queues."""
        return sum(queue.dead for queue in self.queues.values())
