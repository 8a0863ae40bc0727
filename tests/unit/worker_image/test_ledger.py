"""The ledger's arithmetic: nothing lost, doubled, failed or unfinished goes unnoticed."""

import itertools

import pytest
from celery_app.ledger import Entry, Event, account

pytestmark = pytest.mark.unit

SENT, STARTED, SUCCEEDED, RETRIED, FAILED = Event


def entry(
    event: Event,
    task: str,
    time: float = 0.0,
    attempt: int = 0,
    execution: str | None = None,
    pod: str = "pod-1",
    queue: str = "batch",
) -> Entry:
    unique = f"sent:{task}" if event is SENT else execution or f"{task}.{attempt}"
    return Entry(event, task, attempt, unique, "demo.task", queue, pod, 7, time)


def ran(task: str, start: float, end: float, pod: str = "pod-1", queue: str = "batch") -> list[Entry]:
    return [
        entry(SENT, task, pod="sender", queue=queue),
        entry(STARTED, task, start, pod=pod, queue=queue),
        entry(SUCCEEDED, task, end, pod=pod, queue=queue),
    ]


def test_a_run_where_every_task_succeeded_once_is_settled() -> None:
    accounts = account([*ran("a", 0, 1), *ran("b", 1, 2, pod="pod-2"), *ran("c", 0, 9, queue="celery")])
    assert list(accounts) == ["batch", "celery"]
    assert [(queue.sent, queue.succeeded, queue.problems) for queue in accounts.values()] == [(2, 2, []), (1, 1, [])]
    assert accounts["batch"].pods == ("pod-1", "pod-2")


def test_the_peak_is_the_most_tasks_at_one_time_and_a_hand_over_is_no_overlap() -> None:
    assert account([*ran("a", 0, 2), *ran("b", 1, 3), *ran("c", 2, 4)])["batch"].peak == 2


def test_the_order_of_the_entries_does_not_matter() -> None:
    entries = [*ran("a", 0, 2), *ran("b", 1, 3)]
    expected = account(entries)
    assert all(account(order) == expected for order in itertools.permutations(entries))


def test_an_entry_that_a_retried_write_doubled_counts_once() -> None:
    entries = ran("a", 0, 1)
    assert account(entries + entries) == account(entries)


def test_a_task_that_was_sent_and_never_ran_is_lost() -> None:
    lost = account([entry(SENT, "a")])["batch"]
    assert lost.unstarted == ("a/0",)
    assert lost.problems == ["batch: 1 sent but never started: a/0"]


def test_a_task_whose_worker_died_is_unfinished() -> None:
    dead = account([entry(SENT, "a"), entry(STARTED, "a")])["batch"]
    assert dead.unfinished == ("a/0",)
    assert dead.problems == ["batch: 1 started but not finished: a/0"]


def test_a_task_that_ran_on_two_workers_is_doubled_even_though_it_succeeded() -> None:
    again = [entry(STARTED, "a", 5, execution="second"), entry(SUCCEEDED, "a", 6, execution="second")]
    doubled = account(ran("a", 0, 1) + again)["batch"]
    assert (doubled.succeeded, doubled.doubled) == (1, ("a/0",))
    assert doubled.problems == ["batch: 1 ran more than once: a/0"]


def test_a_task_that_died_and_was_done_again_is_doubled_and_unfinished() -> None:
    died = [entry(STARTED, "a", 0, execution="first")]
    account_of_it = account(ran("a", 5, 6) + died)["batch"]
    assert (account_of_it.doubled, account_of_it.unfinished) == (("a/0",), ("a/0",))


def test_a_retry_is_a_new_attempt_and_not_a_double() -> None:
    entries = [
        entry(SENT, "a"),
        entry(STARTED, "a", 1),
        entry(RETRIED, "a", 2),
        entry(STARTED, "a", 3, attempt=1),
        entry(SUCCEEDED, "a", 4, attempt=1),
    ]
    retried = account(entries)["batch"]
    assert (retried.sent, retried.retried, retried.succeeded, retried.problems) == (1, 1, 1, [])


def test_a_retry_that_never_came_back_is_lost() -> None:
    entries = [entry(SENT, "a"), entry(STARTED, "a", 1), entry(RETRIED, "a", 2)]
    assert account(entries)["batch"].unstarted == ("a/1",)


def test_a_failed_task_is_named() -> None:
    failed = account([entry(SENT, "a"), entry(STARTED, "a"), entry(FAILED, "a")])["batch"]
    assert failed.problems == ["batch: 1 failed: a/0"]


def test_a_task_that_nobody_sent_is_named() -> None:
    assert account([entry(STARTED, "a"), entry(SUCCEEDED, "a")])["batch"].problems == [
        "batch: 1 ran without having been sent: a/0"
    ]


def test_a_task_belongs_to_the_queue_it_was_sent_to() -> None:
    entries = [entry(SENT, "a", queue="ml_service"), entry(STARTED, "a", queue="elsewhere")]
    assert list(account(entries)) == ["ml_service"]


def test_many_problems_are_told_briefly() -> None:
    lost = account([entry(SENT, name) for name in "abcde"])
    assert lost["batch"].problems == ["batch: 5 sent but never started: a/0, b/0, c/0 and 2 more"]


def test_an_entry_survives_the_strings_of_redis() -> None:
    kept = entry(STARTED, "a", 1732175733.5, attempt=2)
    assert Entry.parse({name: str(value) for name, value in vars(kept).items()}) == kept
