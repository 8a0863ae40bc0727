"""The ledger in short: pools of three kinds scale under load and no task is lost, run twice or killed.

`make ledger` has the long form: every kind with both versions of Celery and both ways to acknowledge.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.system import System
from tests.ledger.cells import CONCURRENCY, Cell
from tests.ledger.checker import Demand, judge
from tests.ledger.load import Load
from tests.ledger.run import Settled, run
from tests.ledger.scene import scene

pytestmark = pytest.mark.e2e

SHORT = Load(tasks=80, waves=2, longest=8)
SIDE_BY_SIDE = 3
CELLS = (
    Cell("5.7", "prefork", "early"),
    Cell("5.3", "solo", "late"),
    Cell("5.7", "gevent", "late"),
)
"""A pool of processes, one of a single thread, and one of greenlets; `make ledger` has all of them."""
WITHOUT_AGENT = Cell("5.7", "threads", "early", agent=False)


@pytest.fixture(scope="module")
def settled(system: System, tmp_path_factory: pytest.TempPathFactory) -> Mapping[Cell, Settled]:
    """All cells, some side by side; their demands on scaling are as short as their load."""
    for cell in CELLS[:2]:
        system.cluster.provide(cell.image)
    directory = tmp_path_factory.mktemp("ledger")
    with ThreadPoolExecutor(SIDE_BY_SIDE) as side_by_side:
        futures = {
            cell: side_by_side.submit(run, system.cluster, cell, SHORT, "short", directory, demand(cell), print)
            for cell in CELLS
        }
        return {cell: future.result() for cell, future in futures.items()}


def demand(cell: Cell) -> Demand:
    """What a single cell must have gone through; which of its few scale-downs meet a task is a matter of luck."""
    return replace(cell.demand, ups=SHORT.waves, downs=SHORT.waves, loaded=0)


def test_pools_of_three_kinds_scale_under_load_and_lose_kill_and_double_nothing(
    settled: Mapping[Cell, Settled],
) -> None:
    assert {cell.name: settled[cell].problems for cell in CELLS if settled[cell].problems} == {}


def test_of_all_these_scale_downs_enough_met_running_tasks(settled: Mapping[Cell, Settled]) -> None:
    verdicts = [settled[cell].verdict for cell in CELLS]
    share = Demand.loaded  # which a single cell of so few scale-downs need not reach
    assert sum(each.loaded for each in verdicts) >= share * sum(each.downs for each in verdicts)


@pytest.mark.full
def test_without_the_agent_and_with_a_short_grace_the_checker_finds_the_killed_tasks(
    system: System, tmp_path: Path
) -> None:
    """Acknowledged early, a running task is in no key of Redis: nobody but its worker knows of it."""
    cell = WITHOUT_AGENT
    system.cluster.provide(cell.image)
    with scene(system.cluster, tmp_path / "book.jsonl") as running:
        running.pool("hasty", image=cell.image.tag, environment=cell.environment(), **cell.spec())
        tasks = running.send([60.0] * CONCURRENCY)
        running.wait_until_running(len(tasks))
        running.story.wait_for_zero("hasty")
        running.close()
        verdict = judge(running.book.lines(), cell.demand)
    assert verdict.killed == verdict.lost == tuple(sorted(tasks))
