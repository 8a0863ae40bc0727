"""What all brokers together may cost this process: one object, which every connection is given.

Whoever may create a pool chooses the server that is read. So what is large waits for its turn, and a server that has
not answered well before never takes the turn of one that has.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

CALL_SECONDS: Final = 60.0
"""What a call of the operator's own may take, other than a reading: recovery goes on with its next look."""
PROVEN_AT_ONCE: Final = 2
OTHERS_AT_ONCE: Final = 1


class Lane:
    """Brokers that wait for one another.

    turns   large answers that are read at the same time
    slices  who goes on with a long answer; one of them in each turn of the loop
    """

    def __init__(self, at_once: int) -> None:
        self.turns = asyncio.Semaphore(at_once)
        self.slices = asyncio.Lock()


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Allowance:
    """Lanes, and seconds of a call: None where a person waits for its end.

    may_send  asked before anything is sent: a replica that has lost its Lease sends nothing more, whatever it was about
    """

    call_seconds: float | None = None
    proven: Lane = field(default_factory=lambda: Lane(PROVEN_AT_ONCE))
    others: Lane = field(default_factory=lambda: Lane(OTHERS_AT_ONCE))
    may_send: Callable[[], bool] = _always
