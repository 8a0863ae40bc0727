"""What an answer may cost: anybody may run the server that a pool names, and a length that it says is believed nowhere.

with one_answer():
    ...     # all that is read meanwhile, in however many round trips, is one answer

Outside of that each reply is an answer of its own. Sizes are counted before anything is read or kept.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from redis.exceptions import ConnectionError as RedisConnectionError

from celeriac.brokers.allowance import Lane

FREE: Final = 256 * 1024
"""What each connection may answer without waiting for its turn, in bytes."""
MOST: Final = 16 * 1024 * 1024
"""What an answer may cost, in bytes: 1,000 pools with ten workers each take about 9 MiB."""
VALUE: Final = 64
"""What each value counts beyond its length: Python keeps some 60 bytes of its own with one."""
IN_A_ROW: Final = 250
"""Values that are read before others have their turn at the loop: about 1 ms."""
TURN_SECONDS: Final = 3.0
"""How long a large answer may be waited for once it has its turn; what the operator does meanwhile does not count."""


class AnswerTooLarge(RedisConnectionError):
    """A server answers more than it may. The connection is left: what else comes there belongs to this answer."""

    def __init__(self) -> None:
        super().__init__("the answer is too large")


class Answer:
    """What was read so far of one answer."""

    def __init__(self) -> None:
        self._cost = 0
        self._values = 0
        self._turns: list[asyncio.Semaphore] = []
        self.left: float | None = None

    @property
    def is_large(self) -> bool:
        """Whether it needs a turn that it does not have."""
        return self._cost > FREE and not self._turns

    def count(self, size: int) -> bool:
        """Count a value of so many bytes; tell whether it is time to `pause`. Raises AnswerTooLarge."""
        self._cost += size + VALUE
        self._values += 1
        if self._cost > MOST:
            raise AnswerTooLarge
        return self._values % IN_A_ROW == 0 or self.is_large

    async def pause(self, lane: Lane) -> None:
        """Let others have their turn at the loop; a large answer waits for its own among large ones."""
        if not self.is_large:
            async with lane.slices:
                await asyncio.sleep(0)
            return
        await lane.turns.acquire()
        self._turns.append(lane.turns)
        self.left = TURN_SECONDS

    def waited(self, seconds: float) -> None:
        """So long nothing came."""
        if self.left is not None:
            self.left -= seconds

    def close(self) -> None:
        """It is read, and what it was read for is done."""
        while self._turns:
            self._turns.pop().release()


_OPEN: Final[ContextVar[Answer | None]] = ContextVar("answer", default=None)


@contextmanager
def one_answer() -> Iterator[Answer]:
    """The answer that is read now: the one that a caller has begun, or a new one."""
    begun = _OPEN.get()
    if begun is not None:
        yield begun
        return
    answer = Answer()
    token = _OPEN.set(answer)
    try:
        yield answer
    finally:
        _OPEN.reset(token)
        answer.close()
