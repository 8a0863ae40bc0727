"""The marks and the reports of one pool's workers, from reading to reading."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from celeriac.brokers.agents import WorkerReport
from celeriac.brokers.redis.part_queries import fields_of
from celeriac.brokers.redis.queries import Query
from celeriac.brokers.redis.reading_plan import Agents
from celeriac.brokers.redis.worker_reports import Reports, marks_of

SELDOM_SECONDS: Final = 60.0
"""A pool without Pods has no reports. Marks of Pods that are gone, and rights that are lacked, are found this often."""
REFUSED_SECONDS: Final = 5.0
"""The same while they cannot be read."""
_NOTHING: Final[Sequence[Any]] = ([0, []], [])


class AgentHashes:
    """Asks for them while the pool has Pods, and seldom otherwise."""

    def __init__(self, agents: Agents, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self.agents = agents
        self._clock = clock
        self._pods: tuple[str, ...] | None = None
        self._queries: Sequence[Query] = ()
        self._ask_at = float("-inf")
        self._replies: Sequence[Any] = _NOTHING
        self._reports = Reports()

    def queries(self, pods: tuple[str, ...]) -> Sequence[Query]:
        """What is to be asked now, if anything, where the pool has these Pods (uids)."""
        if pods != self._pods:
            self._pods, self._queries = pods, self.agents.queries(pods) if pods else ()
            self._ask_at = float("-inf")
        if not pods and self._clock() >= self._ask_at:
            return self.agents.queries(pods)
        return self._queries

    def note(self, replies: Sequence[Any]) -> bool:
        """Take over the replies to `queries`; whether something has changed."""
        if not replies:
            return False
        refused = any(isinstance(reply, Exception) for reply in replies)
        pause = REFUSED_SECONDS if refused else SELDOM_SECONDS * random.uniform(0.5, 1)
        self._ask_at = self._clock() + pause
        before, self._replies = self._replies, replies
        return refused or list(before) != list(replies)

    @property
    def refusal(self) -> tuple[str, Exception] | None:
        """The key that could not be read, and why."""
        found = zip(self.agents, self._replies, strict=True)
        return next(((key, reply) for key, reply in found if isinstance(reply, Exception)), None)

    def read(self) -> tuple[Mapping[str, WorkerReport], frozenset[str], Mapping[str, str]]:
        """Reports by pod uid, uids whose report cannot be understood, and drain tokens by pod uid."""
        marks, reports = self._replies
        read = self._reports.read(dict(zip(self._pods or (), reports, strict=False)))
        return read, self._reports.unreadable, marks_of(fields_of(marks))
