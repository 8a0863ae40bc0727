"""Work that takes long in all, and lets others have their turn."""

import asyncio
import itertools

import pytest

from celeriac.autoscaling.turns import TURN_SECONDS, in_turns

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("seconds", "turns"), [(TURN_SECONDS / 2.5, 33), (2 * TURN_SECONDS, 100), (0.0, 0)])
async def test_others_have_their_turn_between_pieces_of_work(seconds: float, turns: int) -> None:
    """Each look at the clock is some seconds after the last one."""
    moments, done, had = itertools.count(0.0, seconds), [], 0

    async def others() -> None:
        nonlocal had
        while True:
            await asyncio.sleep(0)
            had += 1

    beside = asyncio.create_task(others())
    async for piece in in_turns(range(100), lambda: next(moments)):
        done.append(piece)
    assert done == list(range(100))
    assert turns - 1 <= had <= turns
    beside.cancel()
