"""Whether this Redis may drop keys when its memory is full: queues, registrations, what workers hold."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from celeriac.brokers.readings import Durability
from celeriac.brokers.redis.queries import Ask

_POLICIES: Final = (
    "noeviction eviction allkeys-lru allkeys-lfu allkeys-lrm allkeys-random volatile-lru volatile-lfu volatile-lrm"
    " volatile-random volatile-ttl"
)
POLICIES: Final = frozenset(_POLICIES.split())
"""Of Redis, Valkey, KeyDB and Dragonfly. Any other word is none of theirs, and not repeated."""
ASK_SECONDS: Final = 60.0
"""The policy changes by hand only, and INFO memory costs the server more than a reading of ten queues."""


class Eviction:
    """Asks for the policy once a minute, beside the other questions of a reading. `clock` is monotonic, in seconds."""

    def __init__(self, where: str, clock: Callable[[], float]) -> None:
        """`where` names the server without credentials."""
        self._where = where
        self._clock = clock
        self._ask_at = float("-inf")
        self.durability: Durability | None = None

    def queries(self) -> Sequence[Ask]:
        """What is to be asked now, if anything."""
        return (Ask(("INFO", "memory")),) if self._clock() >= self._ask_at else ()

    def note(self, replies: Sequence[Any]) -> None:
        """Take over the replies to `queries`. Where INFO is refused, or says nothing of it, nothing is known."""
        for memory in replies:
            self._ask_at = self._clock() + ASK_SECONDS
            told = memory if isinstance(memory, dict) else {}
            self.durability = _durability(str(told.get("maxmemory_policy") or ""), told.get("maxmemory"), self._where)


def _durability(policy: str, limit: Any, where: str) -> Durability | None:
    """volatile-* takes keys that expire, which results do and nothing else of Celery's and the agent's."""
    if policy not in POLICIES:
        return None
    if policy == "noeviction":
        return Durability(True, f"{where} refuses writes rather than drop keys when its memory is full")
    if policy.startswith("volatile-"):
        return Durability(True, f"{where} drops keys that expire when its memory is full ({policy}): task results")
    when = "as soon as a maxmemory is set and reached" if limit == 0 else "when its memory is full"
    return Durability(
        False,
        f"{where} drops any key {when} (maxmemory-policy {policy}): whole queues, what workers hold, the registry by"
        " which that is found, without a word to anybody. Set maxmemory-policy noeviction (CONFIG SET, redis.conf, the"
        " parameter group of a managed Redis), and keep caches in another server",
    )
