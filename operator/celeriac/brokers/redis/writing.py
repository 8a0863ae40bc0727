"""Whether this Redis takes writes: it may answer every question and refuse them all, or those that take memory."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from redis.exceptions import ResponseError

from celeriac.api.reasons import Reason
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.redis.answers import answer_to
from celeriac.brokers.redis.errors import said
from celeriac.brokers.redis.executor import is_refused
from celeriac.brokers.redis.keys import pools_key
from celeriac.brokers.redis.queries import Ask

ASK_SECONDS: Final = 5.0
NOT_ALLOWED_SECONDS: Final = 600.0
"""A user who may only read is not asked for a write that often: Redis notes each in its ACL LOG."""
NO_FIELD: Final = "celeriac"
"""No pool has it as its uid: removing it changes nothing."""
ROOM: Final = 0.95
"""Of maxmemory. A Redis that was full is so until less is used: it hovers at its limit while tasks come and go."""


class Writing:
    """Asks by a write that changes nothing, and for the memory in use. `clock` is monotonic, in seconds.

    What refuses all writes (MISCONF, NOREPLICAS) is a doubt: no task can be sent or taken. A Redis that is full is read
    and believed, as its workers are those who make room: `full` tells it.
    """

    def __init__(self, where: str, clock: Callable[[], float]) -> None:
        """`where` names the server without credentials."""
        self._where = where
        self._clock = clock
        self._ask_at = self._write_at = float("-inf")
        self.full: BrokerDoubt | None = None

    def queries(self, key_prefix: str) -> Sequence[Ask]:
        """What is to be asked now, if anything."""
        if self._clock() < self._ask_at:
            return ()
        memory = Ask(("INFO", "memory"))
        if self._clock() < self._write_at:
            return (memory,)
        return memory, Ask(("HDEL", pools_key(key_prefix), NO_FIELD))

    def note(self, replies: Sequence[Any]) -> None:
        """Take over the replies to `queries`. Raises BrokerDoubt where all writes are refused; asked again at once."""
        if not replies:
            return
        memory, *written = replies
        self.full = self._fullness(memory if isinstance(memory, dict) else {})
        for answer in written:
            if is_refused(answer):
                self._write_at = self._clock() + NOT_ALLOWED_SECONDS
            elif isinstance(answer, ResponseError) and (known := answer_to(said(answer))) is not None:
                raise BrokerDoubt(known[0], known[1].format(where=self._where))
        self._ask_at = self._clock() + ASK_SECONDS

    def _fullness(self, memory: dict[str, Any]) -> BrokerDoubt | None:
        """Buffers of replicas and of the append-only file do not count, as in Redis' own look (getMaxmemoryState)."""
        limit = _count(memory, "maxmemory")
        used = _count(memory, "used_memory") - _count(memory, "mem_not_counted_for_evict")
        if memory.get("maxmemory_policy") != "noeviction" or not limit:
            return None
        if used <= limit and (self.full is None or used < ROOM * limit):
            return None
        return BrokerDoubt(
            Reason.BROKER_FULL,
            f"{self._where} is full: {_size(used)} of {_size(limit)} are used (maxmemory), and it refuses new tasks and"
            " results. Workers go on with what is there, and no replica is removed; raise maxmemory, or remove what"
            " fills it",
        )


def _count(memory: dict[str, Any], name: str) -> int:
    value = memory.get(name)
    return value if type(value) is int else 0


def _size(value: int) -> str:
    return f"{value / 2**20:.1f} MiB"
