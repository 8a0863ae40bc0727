"""What the agents in the workers leave with a broker: reports, registrations, messages of processes that are gone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from celeriac.api.keys import PoolKey
from celeriac.api.names import is_dns_label, is_dns_name
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.pool.model import QueueLayout

STOP: Final = "stop-"
"""A drain mark that begins so tells the agent to stop its worker, too: SIGTERM has not reached it."""
STOP_ONE: Final = f"{STOP}of-"
"""So does one that begins so and goes on with the name of a process; it is nothing to another process of the Pod."""


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What the agent in one worker said last. All counts are of tasks.

    process      which start of the worker says it; with `counter` it tells an old report from a new one
    state        starting, consuming, disconnected, draining, drained or stopping
    token        the drain mark that the worker obeys
    active       started and not finished
    reserved     received, due, not started
    scheduled    held for an ETA
    processed    tasks finished since the start of the worker
    busy_seconds slots x seconds in use since then, unfinished tasks included
    slots        concurrency
    capabilities subset of inflight (own unacked keys), drain, exact (active and busy are exact)
    missing      hooks of Celery that the agent did not find
    signals      whether SIGTERM reaches the worker; None: not known
    init         the name of the container's PID 1 where that is not the worker; "": it is, or not said
    level        how much the agent is to do: report, inflight or drain, which is what earlier releases do
    versions     of Celery and what is below: pairs of a name and a version
    errors       what the agent could not do since the start of the worker, each try counted
    limited      received, and held back by a rate limit; they are among the reserved ones
    layout       of the queues that it reads, without the key prefix; opaque to all but its broker and spec.broker
    time_limit   after so many seconds a task is killed, unless it says otherwise; None: never, or not said
    at_risk      tasks of the app that acknowledge late and are lost when the child that runs them is killed
    tasks_at_risk  names of the first of them
    refused      commands, and patterns of keys as `~pattern`, that the broker refuses to the worker's user
    refusal      the word by which the broker refuses what a worker writes (OOM, MISCONF); "": it does not, or not said
    acks_late    whether tasks are acknowledged after they ran, unless they say otherwise; None: not said
    delivered    messages taken since the start of the worker; agents of earlier releases say neither: 0
    counted      changes whenever the agent may have added to the counts of the pool's tasks; 0: it does not count, or
                 has had nothing to
    """

    pod_uid: str
    process: str
    counter: int
    state: str
    token: str | None
    active: int
    reserved: int
    scheduled: int
    processed: int
    busy_seconds: float
    slots: int
    pool_class: str
    queues: tuple[str, ...]
    capabilities: frozenset[str]
    missing: tuple[str, ...]
    signals: bool | None
    errors: int
    init: str = ""
    level: str = "drain"
    versions: tuple[tuple[str, str], ...] = ()
    limited: int = 0
    delivered: int = 0
    counted: int = 0
    layout: QueueLayout | None = None
    time_limit: float | None = None
    acks_late: bool | None = None
    at_risk: int = 0
    tasks_at_risk: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Process:
    """One start of a worker with the agent, as it registered itself before it consumed.

    Anybody may write to a broker, and these names go into paths of the API server and into logs: a ValueError tells
    which is none.

    layout              of its queues, and where it is registered; opaque to all but its broker
    held_in             the keys of what it holds, as its broker names them
    started             Unix time by the clock of the worker's node
    visibility_timeout  the application's own, in seconds; infinity: never
    reported            tells its last report from the one before, None without one: while it moves, the process lives
    max_attempts        a message that was running in so many processes that died becomes a dead letter
    """

    process: str
    pod: str
    pod_uid: str
    namespace: str
    pool: str
    pool_uid: str
    started: float
    held_in: tuple[str, ...]
    layout: QueueLayout
    visibility_timeout: float
    max_attempts: int
    reported: int | None = None

    def __post_init__(self) -> None:
        if not is_dns_label(self.namespace):
            raise ValueError("namespace is no DNS label")
        for name in ("pool", "pod"):
            if not is_dns_name(getattr(self, name)):
                raise ValueError(f"{name} is no DNS name")
        pod, _, start = self.process.rpartition(".")
        if pod != self.pod or not is_dns_label(start):
            raise ValueError("its name is not that of its pod, a dot and a word")

    @property
    def registry(self) -> str:
        """Where it is registered: see QueueLayout.registry."""
        return self.layout.registry

    @property
    def entry(self) -> "RegistryEntry":
        """Where its pool stands."""
        return RegistryEntry(self.registry, self.pool_uid)


class RegistryEntry(NamedTuple):
    """One pool in one registry of worker processes (QueueLayout.registry)."""

    registry: str
    pool_uid: str


@dataclass(frozen=True, slots=True)
class RegistryList:
    """The pools that a registry knows, deleted ones too.

    pools   by uid; None where the registry does not tell the name
    doubts  what of the list could not be read or understood
    """

    pools: Mapping[str, PoolKey | None] = field(default_factory=dict)
    doubts: tuple[BrokerDoubt, ...] = ()


@dataclass(frozen=True, slots=True)
class RegisteredPool:
    """What one pool has in a registry.

    processes  all that could be understood
    audible    whether their reports could be read: without, silence means nothing
    doubts     what could not be read or understood: while there is any, nobody knows all that the pool's workers hold
    beside     what tells the last report from the one before, of processes that are not registered: by their names, or
               by the uid of a Pod whose report cannot be understood
    whole      whether all processes were read; of some registries only a part is
    """

    processes: tuple[Process, ...] = ()
    audible: bool = True
    doubts: tuple[BrokerDoubt, ...] = ()
    beside: Mapping[str, int] = field(default_factory=dict)
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Traces:
    """What is there of workers without a registry's word for it.

    pools      uids, of deleted ones too
    processes  by the keys of what they hold; namespace, pool and start are not known, the layout is a guess
    whole      whether all was looked through
    """

    pools: frozenset[str] = frozenset()
    processes: tuple[Process, ...] = ()
    whole: bool = True


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


class NotAllRestored(BrokerDoubt):
    """Some messages could not be moved; `restored` tells what became of the others. The doubt is that of the first."""

    def __init__(self, doubt: BrokerDoubt, restored: Restored) -> None:
        super().__init__(doubt.reason, str(doubt))
        self.restored = restored
