"""The demo's judgement: it is content only when every task is accounted for and every pool did what was decided."""

from dataclasses import replace

import pytest
from celery_app.ledger import Entry, Event, account

from tests.demo.pools import DemoPool
from tests.demo.state import PoolState
from tests.demo.summary import judge, settled, table, words

pytestmark = pytest.mark.unit

ML = DemoPool("ml", "ml_service", tasks_per_slot=4, concurrency=None, peak=2)
GOOD = PoolState(
    "ml", decided=0, peak_decided=2, peak_decision="2 of 2", replicas=0, ready=0, peak_ready=2, decision="0: idle"
)


def run_of(task: str, pod: str, *, ended: bool = True) -> list[Entry]:
    def entry(event: Event, execution: str, time: float) -> Entry:
        return Entry(event, task, 0, execution, "demo.task", "ml_service", pod, 7, time)

    entries = [entry(Event.SENT, f"sent:{task}", 0), entry(Event.STARTED, task, 1), entry(Event.SUCCEEDED, task, 2)]
    return entries if ended else entries[:2]


TWO_PODS = account([*run_of("a", "pod-1"), *run_of("b", "pod-2")])


def problems(state: PoolState = GOOD, entries: list[Entry] | None = None) -> tuple[str, ...]:
    accounts = TWO_PODS if entries is None else account(entries)
    return judge([ML], accounts, {"ml": state})[0].problems


def test_a_good_run_has_no_problem() -> None:
    assert problems() == ()
    assert settled([ML], TWO_PODS, {"ml": GOOD})


def test_a_queue_to_which_nothing_was_sent_is_no_success() -> None:
    assert "ml_service: no task was sent" in problems(entries=[])
    assert not settled([ML], {}, {"ml": GOOD})


def test_a_task_that_did_not_end_is_a_problem_and_worth_waiting_for() -> None:
    entries = [*run_of("a", "pod-1"), *run_of("b", "pod-2", ended=False)]
    assert problems(entries=entries) == ("ml_service: 1 started but not finished: b/0",)
    assert not settled([ML], account(entries), {"ml": GOOD})


def test_all_tasks_on_one_pod_are_too_few_pods() -> None:
    entries = [*run_of("a", "pod-1"), *run_of("b", "pod-1")]
    assert problems(entries=entries) == ("ml_service: tasks ran on 1 pods, at least 2 were expected",)


def test_pods_that_were_decided_and_never_ready_are_a_problem() -> None:
    assert problems(replace(GOOD, peak_ready=1)) == ("ml: 2 replicas were decided, at most 1 were ready",)


def test_more_ready_pods_than_were_ever_decided_are_a_problem() -> None:
    assert problems(replace(GOOD, peak_ready=3)) == ("ml: 2 replicas were decided, at most 3 were ready",)


def test_a_pool_that_never_grew_is_a_problem() -> None:
    assert problems(replace(GOOD, peak_decided=0, peak_ready=0)) == (
        "ml: at most 0 replicas were decided, 2 were expected",
    )


@pytest.mark.parametrize("state", [replace(GOOD, replicas=1), replace(GOOD, decided=1), PoolState("ml")])
def test_a_pool_that_is_not_back_at_zero_is_a_problem_and_worth_waiting_for(state: PoolState) -> None:
    assert any("not back at zero" in problem for problem in problems(state))
    assert not settled([ML], TWO_PODS, {"ml": state})


def test_the_summary_shows_the_figures_and_the_decision_in_words() -> None:
    lines = judge([ML], TWO_PODS, {"ml": GOOD})
    assert [list(column.cells) for column in table(lines).columns] == [
        [cell] for cell in ("ml", "2", "2", "0", "0", "2", "2", "2", "0")
    ]
    assert words(lines) == ["ml decided 2: 2 of 2"]
