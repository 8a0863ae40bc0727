"""What all brokers together may cost this process: one object, which every connection is given.

Whoever may create a pool chooses the server that is read. So what is large waits for its turn, and a server that has
not answered well before never takes the turn of one that has; and of what is kept, nobody gets the share of all.
"""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final
from weakref import WeakKeyDictionary

CALL_SECONDS: Final = 60.0
"""What a call of the operator's own may take, other than a reading: recovery goes on with its next look."""
PROVEN_AT_ONCE: Final = 2
OTHERS_AT_ONCE: Final = 1


MOST_KEPT: Final = 40_000
"""Registrations that are kept from look to look, of all brokers: some 1.5 KiB each."""
LEAST_KEPT: Final = 200
"""What a broker may keep of them whatever the others do."""


class Lane:
    """Brokers that wait for one another.

    turns   large answers that are read at the same time
    slices  who goes on with a long answer; one of them in each turn of the loop
    """

    def __init__(self, at_once: int) -> None:
        self.turns = asyncio.Semaphore(at_once)
        self.slices = asyncio.Lock()


class Kept:
    """How many registrations each broker keeps. One may have half of what the others leave."""

    def __init__(self) -> None:
        self._of: WeakKeyDictionary[Hashable, int] = WeakKeyDictionary()

    def room(self, broker: Hashable) -> int:
        """How many this broker may keep."""
        others = sum(kept for each, kept in self._of.items() if each is not broker)
        return max(LEAST_KEPT, (MOST_KEPT - others) // 2)

    def note(self, broker: Hashable, kept: int) -> None:
        """It keeps so many now, instead of those before."""
        self._of[broker] = kept


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Allowance:
    """Lanes, what is kept, and seconds of a call: None where a person waits for its end.

    may_send  asked before anything is sent: a replica that has lost its Lease sends nothing more, whatever it was about
    """

    call_seconds: float | None = None
    kept: Kept = field(default_factory=Kept)
    proven: Lane = field(default_factory=lambda: Lane(PROVEN_AT_ONCE))
    others: Lane = field(default_factory=lambda: Lane(OTHERS_AT_ONCE))
    may_send: Callable[[], bool] = _always
