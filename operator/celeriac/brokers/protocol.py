"""What the operator asks of a broker, in small parts: one that cannot do a thing leaves the part out.

Every method raises BrokerDoubt where the broker does not do what it is asked for. A QueueLayout is a broker's own: the
others pass it on without looking into it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from celeriac.brokers.agents import Process, RegisteredPool, RegistryEntry, RegistryList, Restored, Traces
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.readings import PoolReading, QueueSet
from celeriac.brokers.task_counts import Rows
from celeriac.pool.model import QueueLayout


class QueueReader(Protocol):
    """Reads queues in bulk, and what the agents say beside them."""

    async def read(self, pools: Sequence[QueueSet]) -> Sequence[PoolReading | BrokerDoubt]:
        """Read all pools in a bounded number of round trips; one bad key spoils only its own pool.

        What is read of a pool is the same object as the last time where nothing of it has changed. Raises BrokerDoubt
        where the broker as a whole cannot be trusted.
        """


class AgentLink(Protocol):
    """Tells the agents in the workers what they are to do."""

    async def mark(self, layout: QueueLayout, pool_uid: str, marks: Mapping[str, str | None]) -> None:
        """Set the drain marks of these pods (pod uid -> token); None removes one. Others stay as they are."""


class Salvage(Protocol):
    """Gives back what gone processes held. A broker that redelivers by itself needs none."""

    async def listed(self, registries: Collection[str]) -> Mapping[str, RegistryList]:
        """The pools of each of these registries (QueueLayout.registry), deleted ones too.

        Raises BrokerDoubt where the broker as a whole is in doubt; so does `registered`.
        """

    async def registered(self, entries: Collection[RegistryEntry]) -> Mapping[RegistryEntry, RegisteredPool]:
        """The processes of each of these pools; what is wrong with one pool spoils no other."""

    async def traces(self, layout: QueueLayout) -> Traces:
        """What is found of workers by looking through everything: slow, and never part of a loop.

        `layout` is how the queues of those are laid out that no registry knows. Raises BrokerDoubt where the user may
        not do that.
        """

    async def held(self, processes: Sequence[Process]) -> Sequence[int | BrokerDoubt]:
        """How many messages each process holds, or why that cannot be read."""

    async def restore(self, process: Process, *, died: bool) -> Restored:
        """Put back all that a process held which is known to be gone, and forget the process.

        May be repeated, and may race with others that do the same: each message is moved once. With `died` a message
        that was running counts one death; see Process.max_attempts. Raises NotAllRestored where some could not be
        moved: the others were.
        """

    async def forget_pool(self, entry: RegistryEntry) -> None:
        """Remove what is left of a pool that is gone; nothing, while one of its processes is registered."""

    async def take_over(self, layout: QueueLayout, queues: Collection[str], *, older_than_seconds: float) -> Restored:
        """Put back what workers without the agent were given of these queues so long ago, a bounded number per call.

        Raises NotAllRestored as `restore` does.
        """


UNROUTABLE: Final = "unroutable"
"""In place of a queue's name: dead letters of which nobody can say to which queue they belong."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What may be shown of a dead letter: never its body, which holds the task's arguments."""

    task: str
    id: str
    reason: str


class DeadLetters(Protocol):
    """Messages that are not delivered any more, and the way back for them."""

    async def count(self, layout: QueueLayout, queue: str) -> int:
        """How many a queue has."""

    async def queues(self, layout: QueueLayout) -> Mapping[str, int]:
        """All queues that have some, and how many; may look through everything, so it is for people."""

    async def oldest(
        self, layout: QueueLayout, queue: str, most: int, *, ids: Collection[str] = ()
    ) -> Sequence[DeadLetter]:
        """The oldest of a queue first, `most` of them at most; those of these tasks alone where `ids` names some."""

    async def newest(self, layout: QueueLayout, queue: str, most: int) -> Sequence[DeadLetter]:
        """The newest of a queue, `most` of them at most, in the order in which they came."""

    async def requeue(
        self, layout: QueueLayout, queue: str, *, to: str | None = None, ids: Collection[str] = ()
    ) -> int:
        """Put all of a queue back into it (or into `to`), behind what waits there, the oldest first.

        Those of these tasks alone where `ids` names some. Their deaths are forgotten. Gives their number.
        """

    async def purge(self, layout: QueueLayout, queue: str, *, ids: Collection[str] = ()) -> int:
        """Delete all of a queue, or those of these tasks alone; their number."""


class TaskCounts(Protocol):
    """What the agents have counted of their pools' tasks."""

    async def read(self, pools: Sequence[tuple[str, str]]) -> Sequence[Rows | BrokerDoubt]:
        """Read the counts of each pool (key prefix, uid); what is wrong with one spoils no other.

        Raises BrokerDoubt where the broker as a whole is in doubt.
        """


@dataclass(frozen=True, slots=True)
class ControlList:
    """Messages of Celery's own for one process: events for a monitor, answers for whoever asked.

    key     its whole name in the broker
    size    bytes, about
    oldest  tells the message that its reader takes first from any other
    """

    key: str
    length: int
    size: int
    oldest: str


@dataclass(frozen=True, slots=True)
class ControlLists:
    """Those that were found; `is_whole`: there are no others."""

    lists: tuple[ControlList, ...]
    is_whole: bool


class ControlListReader(Protocol):
    """Finds what Celery's events and remote control have left behind."""

    async def look(self, layout: QueueLayout) -> ControlLists:
        """Those that hold messages now and do not expire, a bounded number; for people, who look twice."""


class QueueNames(Protocol):
    """Knows names of queues."""

    async def known(self, layout: QueueLayout, names: Sequence[str]) -> Sequence[str]:
        """Those of these names that are those of queues, by a binding or by messages; fewer where rights are."""


class Broker(Protocol):
    """One broker. The parts share its connections."""

    @property
    def queues(self) -> QueueReader:
        """Reads queues."""

    @property
    def agents(self) -> AgentLink:
        """Reaches the agents."""

    @property
    def salvage(self) -> Salvage | None:
        """Gives back what gone processes held; None where the broker does so by itself."""

    @property
    def dead_letters(self) -> DeadLetters | None:
        """Its dead letters; None where it has none that can be looked at."""

    @property
    def task_counts(self) -> TaskCounts | None:
        """What was counted of tasks; None where nothing is."""

    @property
    def names(self) -> QueueNames | None:
        """Knows names of queues; None where it can be asked for none."""

    @property
    def control_lists(self) -> ControlListReader | None:
        """What Celery's own tools leave behind; None where the broker removes that by itself."""

    async def close(self) -> None:
        """Close the connections."""
