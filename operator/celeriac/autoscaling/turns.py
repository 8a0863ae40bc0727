"""Long work in the event loop that lets others have their turn."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final, TypeVar

TURN_SECONDS: Final = 0.02
"""The Lease, and the requests of what was decided before, wait no longer for thousands of decisions."""

T = TypeVar("T")


async def in_turns(work: Iterable[T], clock: Callable[[], float]) -> AsyncIterator[T]:
    """Give one piece after the other, and way to whoever waits for the loop after each TURN_SECONDS."""
    since = clock()
    for piece in work:
        yield piece
        if clock() - since > TURN_SECONDS:
            await asyncio.sleep(0)
            since = clock()
