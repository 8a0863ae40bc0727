"""ETA messages at rest in a queue's lists: a worker that stops puts back what it kept for later.

Counted as waiting they would wake a pool at zero, whose worker would take them, find nothing to do, and be stopped
again. So short queues are looked through; a message whose ETA has not come is `deferred`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from celeriac.brokers.redis.message_queries import Peek
from celeriac.brokers.redis.unacked import eta_of

LOOK_THROUGH: Final = 100
LOOK_THROUGH_BYTES: Final = 256 * 1024
LOOK_AGAIN_SECONDS: Final = 5.0
LOOK_SELDOM_SECONDS: Final = 60.0
"""For a queue of large messages: each look costs Redis a copy of one of them, 0.2 s if it has 60 MiB."""


@dataclass(frozen=True, slots=True)
class _Look:
    count: int
    etas: tuple[float, ...]
    at: float
    whole: bool = True


class RestingEtas:
    """What was found in one queue, looked at again when its length changes or after LOOK_AGAIN_SECONDS.

    One that was too large to be looked through is let alone for longer.
    """

    def __init__(self, keys: tuple[str, ...], clock: Callable[[], float]) -> None:
        """`keys` are the queue's lists; `clock` is monotonic, in seconds."""
        self._keys = keys
        self._clock = clock
        self._look = _Look(0, (), float("-inf"))

    @property
    def has_etas(self) -> bool:
        """Whether messages with an ETA were found at the last look."""
        return bool(self._look.etas)

    def query(self, count: int) -> Peek | None:
        """Ask for the messages with an ETA, if the last look is no longer good for a queue of `count` messages."""
        age = self._clock() - self._look.at
        known = count == self._look.count and age < LOOK_AGAIN_SECONDS
        if not 0 < count <= LOOK_THROUGH or known or (not self._look.whole and age < LOOK_SELDOM_SECONDS):
            return None
        return Peek(self._keys, LOOK_THROUGH, LOOK_THROUGH_BYTES)

    def note(self, reply: Any) -> int:
        """Keep the ETAs that were found; the number of messages at that moment."""
        count, messages, whole = reply
        etas = (_eta_in(message) for message in messages)
        found = tuple(eta for eta in etas if eta is not None)
        self._look = _Look(count, found, self._clock(), bool(whole) or count > LOOK_THROUGH)
        return int(count)

    def deferred(self, count: int, now: float) -> int:
        """How many of `count` messages are not due at Unix time `now`; 0 where that is not known."""
        return sum(eta > now for eta in self._look.etas) if count == self._look.count else 0

    def next_eta(self, count: int, now: float) -> float | None:
        """When the first of the deferred falls due, as a Unix time."""
        later = [eta for eta in self._look.etas if eta > now]
        return min(later, default=None) if count == self._look.count else None


def _eta_in(message: bytes) -> float | None:
    if len(message) > LOOK_THROUGH_BYTES:
        return None
    try:
        return eta_of(json.loads(message))
    except (ValueError, RecursionError):
        return None
