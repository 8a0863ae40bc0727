"""What every broker gives the operator: a bulk reading of many pools' queues, or a doubt; and what the agent in the
workers left there: reports, drain marks, and messages of processes that are gone.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from celeriac.api.reasons import Reason
from celeriac.pool.model import QueueLayout


@dataclass(frozen=True, slots=True)
class QueueSet:
    """The queues of one pool and how they are laid out. `agent` is the pool's uid where its workers have the agent."""

    queues: tuple[str, ...]
    layout: QueueLayout = field(default_factory=QueueLayout)
    agent: str | None = None


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


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What the agent in one worker said last. All counts are of tasks.

    process      which start of the worker says it; with `counter` it tells an old report from a new one
    state        starting, consuming, disconnected, draining, drained or stopping
    token        the drain mark that the worker obeys
    active       started and not finished
    reserved     received, due, not started
    scheduled    held for an ETA
    unacked      messages in the worker's own unacked hash; None where it could not be read
    processed    tasks finished since the start of the worker
    busy_seconds slots x seconds in use since then, unfinished tasks included
    slots        concurrency
    broker       where the worker's own connection leads, without credentials
    prefetch     prefetch multiplier; 0: prefetch is disabled
    visibility_timeout  the application's own, in seconds
    capabilities subset of inflight (own unacked keys), drain, exact (active and busy are exact)
    missing      hooks of Celery that the agent did not find
    signals      whether SIGTERM reaches the worker; None: not known
    given_back, restored, dead, errors  counters since the start of the worker
    """

    pod_uid: str
    pod: str
    process: str
    counter: int
    state: str
    token: str | None
    active: int
    reserved: int
    scheduled: int
    unacked: int | None
    processed: int
    busy_seconds: float
    slots: int
    celery: str
    kombu: str
    python: str
    pool_class: str
    broker: str
    key_prefix: str
    queues: tuple[str, ...]
    prefetch: int
    visibility_timeout: float
    capabilities: frozenset[str]
    missing: tuple[str, ...]
    signals: bool | None
    given_back: int
    restored: int
    dead: int
    errors: int


@dataclass(frozen=True, slots=True)
class PoolReading:
    """All queues of one pool. `exact` is False where held and scheduled are estimates from a bounded sample.

    reports           what the pool's agents said last, by pod uid
    marks             drain tokens as they stand in the broker, by pod uid
    next_eta_seconds  until the first deferred message of all queues falls due, by the broker's clock
    """

    queues: Mapping[str, QueueReading] = field(default_factory=dict)
    exact: bool = True
    reports: Mapping[str, WorkerReport] = field(default_factory=dict)
    marks: Mapping[str, str] = field(default_factory=dict)
    next_eta_seconds: float | None = None

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


@dataclass(frozen=True, slots=True)
class Process:
    """One start of a worker with the agent, as it registered itself before it consumed. Keys are without the prefix.

    started             Unix time by the clock of the worker's node
    visibility_timeout  the application's own, in seconds
    reported            counter of its last report, None without one: while it moves, the process lives
    max_attempts        a message that was running in so many processes that died becomes a dead letter
    """

    process: str
    pod: str
    pod_uid: str
    namespace: str
    pool: str
    pool_uid: str
    started: float
    unacked_key: str
    index_key: str
    mutex_key: str
    separator: str
    priority_steps: tuple[int, ...]
    queues: tuple[str, ...]
    visibility_timeout: float
    max_attempts: int
    key_prefix: str
    reported: int | None = None


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of messages that nobody held any more.

    restored  put back into their queues
    dead      made dead letters
    dropped   broadcasts, which were for the one worker that is gone
    """

    restored: int = 0
    dead: int = 0
    dropped: int = 0

    def __add__(self, other: "Restored") -> "Restored":
        return Restored(self.restored + other.restored, self.dead + other.dead, self.dropped + other.dropped)


class BrokerDoubt(Exception):
    """The broker's answer cannot be trusted, or did not come.

    `reason` is a `Reason`; the message names the cure and never holds a credential.
    """

    def __init__(self, reason: Reason, message: str) -> None:
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
    """One broker, read in bulk. Every method raises BrokerDoubt where the broker does not do what it is asked for."""

    async def read(self, pools: Sequence[QueueSet]) -> Sequence[PoolReading | BrokerDoubt]:
        """Read all pools in a bounded number of round trips; one bad key spoils only its own pool.

        Raises BrokerDoubt where the broker as a whole cannot be trusted.
        """

    async def mark(self, layout: QueueLayout, pool_uid: str, marks: Mapping[str, str | None]) -> None:
        """Set the drain marks of these pods (pod uid -> token); None removes one. Others stay as they are."""

    async def processes(self, key_prefixes: Collection[str]) -> Sequence[Process]:
        """All processes registered under these key prefixes, of all pools, of deleted ones too."""

    async def restore(self, process: Process, *, died: bool) -> Restored:
        """Put back all that a process held which is known to be gone, and forget the process.

        May be repeated, and may race with others that do the same: each message is moved once. With `died` a message
        that was running counts one death; see Process.max_attempts.
        """

    async def forget_pool(self, key_prefix: str, pool_uid: str) -> None:
        """Remove what is left of a pool that is gone; nothing, while one of its processes is registered."""

    async def take_over(self, layout: QueueLayout, queues: Collection[str], *, older_than_seconds: float) -> Restored:
        """Put back what workers without the agent were given of these queues so long ago, a bounded number per call."""

    async def dead_letters(self, layout: QueueLayout, queue: str) -> int:
        """How many dead letters a queue has."""

    async def requeue_dead(self, layout: QueueLayout, queue: str) -> int:
        """Put all dead letters back into their queue, behind what waits there, the oldest first; their deaths are
        forgotten. Gives their number.
        """

    async def close(self) -> None:
        """Close the connections."""
