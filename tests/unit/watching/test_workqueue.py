"""The work queue: nothing twice at a time, nothing forgotten, failures come back later and later."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from celeriac.watching.workqueue import WorkQueue

pytestmark = pytest.mark.unit


async def run_until_idle(
    queue: WorkQueue[str], work: Callable[[str], Awaitable[None]], workers: int = 2
) -> list[tuple[str, Exception]]:
    failures: list[tuple[str, Exception]] = []

    def failed(key: str, error: Exception) -> float:
        failures.append((key, error))
        return 60.0

    tasks = [asyncio.create_task(queue.run(work, failed)) for _ in range(workers)]
    for _ in range(50):
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return failures


async def test_a_key_that_is_added_ten_times_before_its_turn_is_worked_on_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    seen: list[str] = []

    async def work(key: str) -> None:
        seen.append(key)

    for _ in range(10):
        queue.add("a")
    queue.add("b")
    await run_until_idle(queue, work)
    assert seen == ["a", "b"]


async def test_a_key_that_changes_while_it_is_worked_on_runs_again_and_never_beside_itself() -> None:
    queue: WorkQueue[str] = WorkQueue()
    at_work = 0
    most = 0
    runs = 0

    async def work(key: str) -> None:
        nonlocal at_work, most, runs
        at_work += 1
        runs += 1
        most = max(most, at_work)
        if runs == 1:
            queue.add(key)
        await asyncio.sleep(0)
        at_work -= 1

    queue.add("a")
    await run_until_idle(queue, work)
    assert (runs, most) == (2, 1)


async def test_a_failure_comes_back_after_a_backoff_and_the_others_go_on() -> None:
    queue: WorkQueue[str] = WorkQueue()
    seen: list[str] = []
    came_back = asyncio.Event()
    failures: list[str] = []

    async def work(key: str) -> None:
        seen.append(key)
        if seen.count("bad") == 2:
            came_back.set()
        if key == "bad":
            raise ValueError("not yet")

    def failed(key: str, error: Exception) -> float:
        failures.append(key)
        return 60.0

    queue.add("bad")
    queue.add("good")
    task = asyncio.create_task(queue.run(work, failed))
    await asyncio.wait_for(came_back.wait(), 5)
    task.cancel()
    assert seen[:3] == ["bad", "good", "bad"]
    assert failures[0] == "bad"


async def test_a_backoff_is_no_longer_than_the_failure_is_worth() -> None:
    """Ten failures in a row would be waited for three minutes."""
    queue: WorkQueue[str] = WorkQueue()
    runs = asyncio.Queue[str]()

    async def work(key: str) -> None:
        runs.put_nowait(key)
        raise ValueError("not yet")

    queue.add("a")
    task = asyncio.create_task(queue.run(work, lambda *_: 0.01))
    for _ in range(11):
        await asyncio.wait_for(runs.get(), 5)
    task.cancel()


async def test_of_several_timers_for_a_key_the_earliest_fires_and_only_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    runs = asyncio.Queue[str]()

    async def work(key: str) -> None:
        runs.put_nowait(key)

    for seconds in (3600, 0.05, 0.01, 0.02):
        queue.add_after("a", seconds)
    task = asyncio.create_task(queue.run(work, lambda *_: 60.0))
    assert await asyncio.wait_for(runs.get(), 5) == "a"
    await asyncio.sleep(0.1)  # past the timers that the earliest has displaced
    task.cancel()
    assert runs.empty()
