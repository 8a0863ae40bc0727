"""What every broker gives the operator: a bulk reading of many pools' queues, or a doubt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from celeriac.pool.model import QueueLayout


@dataclass(frozen=True, slots=True)
class QueueSet:
    """The queues of one pool and how they are laid out."""

    queues: tuple[str, ...]
    layout: QueueLayout = field(default_factory=QueueLayout)


@dataclass(frozen=True, slots=True)
class QueueReading:
    """One queue at one moment, in messages.

    waiting    in the queue's lists, all priority steps together, `deferred` left out
    held       delivered to some worker and not acknowledged, ETA messages that are due included
    scheduled  delivered to some worker that keeps them for an ETA that has not come
    deferred   in the queue's lists with an ETA that has not come: a worker that stops puts its scheduled ones back.
               Only a short list is looked through; in a longer one all messages count as waiting
    """

    waiting: int
    held: int = 0
    scheduled: int = 0
    deferred: int = 0


@dataclass(frozen=True, slots=True)
class PoolReading:
    """All queues of one pool. `exact` is False where held and scheduled are estimates from a bounded sample."""

    queues: Mapping[str, QueueReading] = field(default_factory=dict)
    exact: bool = True

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


class BrokerDoubt(Exception):
    """The broker's answer cannot be trusted, or did not come.

    `reason` is a constant of `celeriac.reasons`; the message names the cure and never holds a credential.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """PEM texts for a TLS connection; None: the system's own certificate authorities, no client certificate."""

    ca: str | None = None
    certificate: str | None = None
    private_key: str | None = None


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """All that a connection needs; equal addresses share one. The URL may hold a password: never print it."""

    url: str = field(repr=False)
    tls: TlsMaterial | None = field(default=None, repr=False)
    sentinel_master: str | None = None


class Broker(Protocol):
    """One broker, read in bulk."""

    async def read(self, pools: Sequence[QueueSet]) -> Sequence[PoolReading | BrokerDoubt]:
        """Read all pools in a bounded number of round trips; one bad key spoils only its own pool.

        Raises BrokerDoubt where the broker as a whole cannot be trusted.
        """

    async def close(self) -> None:
        """Close the connections."""
