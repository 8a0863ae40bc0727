"""A drain that nobody finishes at once: the operator dies in the midst of it, again and again."""

from pathlib import Path

import pytest

from tests.e2e.story import PATIENCE
from tests.e2e.system import System
from tests.ledger.cells import Cell
from tests.ledger.checker import Demand, judge
from tests.ledger.lines import Event
from tests.ledger.scene import all_over, scene

pytestmark = [pytest.mark.e2e, pytest.mark.full]

CELL = Cell("5.7", "prefork", "late")
DEATHS = (Event.MARKED, Event.SCALED, Event.DELETED)
"""The operator dies as soon as one of these is seen of a pool that shrinks; another one takes over."""
LONG, SHORT = [8.0] * 2, [0.3] * 30
AT_LEAST_ONE = Demand(ups=1, downs=1, loaded=0.01)


def test_an_operator_that_dies_after_each_step_of_a_drain_is_followed_by_one_that_goes_on(
    system: System, tmp_path: Path
) -> None:
    system.cluster.provide(CELL.image)
    with scene(system.cluster, tmp_path / "book.jsonl") as running:
        running.pool("drained", image=CELL.image.tag, environment=CELL.environment(), **CELL.spec())
        for step in DEATHS:
            before = sum(line.event is step for line in running.book.lines())
            running.send(LONG + SHORT)
            if step is Event.SCALED:
                seen = running.book.wait(lambda lines: any(line.after < line.before for line in lines), PATIENCE)
            else:
                seen = running.book.wait(
                    lambda lines, e=step, n=before: sum(line.event is e for line in lines) > n,  # type: ignore[misc]
                    PATIENCE,
                )
            assert seen, f"no pod was {step}"
            system.kill_operator()
        assert running.book.wait(all_over, PATIENCE)
        running.story.wait_for_zero("drained")
        running.close()
        assert judge(running.book.lines(), AT_LEAST_ONE).problems == ()
