"""What work holds the event loop, in a time that stands still unless somebody works."""

import asyncio

import pytest

from celeriac.autoscaling.stopwatch import Stopwatch

pytestmark = pytest.mark.unit


class Work:
    """Takes seconds of its own clock."""

    def __init__(self) -> None:
        self.now = 0.0

    def take(self, seconds: float) -> None:
        self.now += seconds


async def test_all_that_holds_the_loop_counts_and_no_waiting() -> None:
    work = Work()
    watch = Stopwatch(lambda: work.now)
    answer = asyncio.get_running_loop().create_future()

    async def ask() -> str:
        work.take(2)
        found: str = await answer
        work.take(3)
        return found

    asking = asyncio.create_task(watch.measured(ask()))
    await asyncio.sleep(0)
    work.take(100)  # of others
    answer.set_result("42")
    assert await asking == "42"
    with watch.running():
        work.take(5)
    assert watch.take() == 10
    assert watch.take() == 0


async def test_errors_and_cancellation_come_through() -> None:
    work = Work()
    watch = Stopwatch(lambda: work.now)
    ended = []

    async def wait() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            work.take(1)
            ended.append(True)

    async def fail() -> None:
        async with asyncio.timeout(0):
            await asyncio.sleep(10)

    waiting = asyncio.create_task(watch.measured(wait()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended
    assert watch.take() == 1
    with pytest.raises(TimeoutError):
        await watch.measured(fail())
