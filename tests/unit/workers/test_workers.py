"""Pods and reports become what is known of a pool's workers: unknown is never idle."""

from dataclasses import replace
from typing import Any

import pytest

from celeriac.api.reasons import Reason
from celeriac.brokers.agents import WorkerReport
from celeriac.cluster.records import PodRecord
from celeriac.pool.model import PoolType
from celeriac.scaling.workload import MARKED_COST, RELEASED_COST
from celeriac.workers.observer import DEAF_SECONDS, MISSING_SECONDS, SETTLE_SECONDS, STALE_SECONDS, Observer
from celeriac.workers.trouble import trouble_of
from celeriac.workers.worker import Workers
from tests.unit.builders.pools import pool
from tests.unit.builders.workers import pod, report

pytestmark = pytest.mark.unit

SLOTS = 4


def observe(
    pods: list[PodRecord],
    *reports: WorkerReport,
    marks: dict[str, str] | None = None,
    observer: Observer | None = None,
    now: float = 0.0,
) -> Workers:
    by_pod = {each.pod_uid: each for each in reports}
    return (observer or Observer()).observe(pods, by_pod, marks or {}, SLOTS, now)


def test_what_a_worker_reports_is_what_runs() -> None:
    assert observe([pod("a"), pod("b")], report("a", active=3), report("b", active=1)).running == 4


def test_a_worker_whose_report_stands_still_counts_as_busy_in_all_its_slots() -> None:
    observer = Observer()
    assert observe([pod()], report(), observer=observer, now=0.0).running == 0
    assert observe([pod()], report(), observer=observer, now=STALE_SECONDS).running == SLOTS
    assert observe([pod()], report(counter=2), observer=observer, now=STALE_SECONDS + 1).running == 0


def test_a_new_process_in_the_same_pod_is_fresh_although_its_counter_begins_anew() -> None:
    observer = Observer()
    observe([pod()], report(counter=1), observer=observer, now=0.0)
    again = report(counter=1, process="ml-a.00000002")
    assert observe([pod()], again, observer=observer, now=STALE_SECONDS).running == 0


def test_a_pod_that_starts_runs_nothing_and_a_ready_one_without_report_counts_as_busy() -> None:
    starting = pod("a", ready=False)
    assert observe([starting]).running == 0
    assert observe([pod("b")]).running == SLOTS


def test_a_pod_that_is_deleted_runs_its_tasks_to_the_end_but_is_no_capacity() -> None:
    workers = observe([pod(terminating=True)], report(active=2, scheduled=3))
    assert (workers.running, workers.scheduled, workers.ending) == (0, 0, 2)
    assert workers.pods() == ()


def test_a_deleted_pod_whose_worker_goes_on_has_not_heard_its_signal() -> None:
    observer, gone = Observer(), pod("a", terminating=True)

    def deaf(now: float, **fields: Any) -> list[PodRecord]:
        seen = report("a", counter=int(now) + 1, **fields)
        return observe([gone, pod("b")], seen, report("b", counter=int(now) + 1), observer=observer, now=now).deaf

    assert deaf(0.0) == deaf(DEAF_SECONDS - 1) == []
    assert deaf(DEAF_SECONDS) == [gone]
    assert deaf(DEAF_SECONDS + 1, state="drained") == [gone]
    assert deaf(DEAF_SECONDS + 2, state="stopping") == []
    assert observe([gone], report("a", counter=1), observer=observer, now=DEAF_SECONDS + 2 + STALE_SECONDS).deaf == [
        gone
    ], "another report, a fresh one"
    later = DEAF_SECONDS + 2 + 3 * STALE_SECONDS
    assert observe([gone], report("a", counter=1), observer=observer, now=later).deaf == [], "an old one tells nothing"


def test_a_pod_whose_containers_have_ended_runs_nothing() -> None:
    assert observe([pod(terminating=True, all_terminated=True)], report(active=2)).ending == 0


def test_a_worker_that_ended_clean_and_took_its_report_away_does_not_wake_its_pool_again() -> None:
    observer = Observer()
    observe([pod()], report(), observer=observer, now=0.0)
    assert observe([pod(terminating=True)], observer=observer, now=0.5).ending == 0


def test_a_drained_worker_that_is_deleted_does_not_wake_its_pool_again_under_a_new_leader() -> None:
    assert observe([pod(terminating=True, drain_token="t")]).ending == 0
    assert observe([pod(terminating=True)]).ending == SLOTS


def test_a_worker_whose_container_has_ended_runs_nothing_and_one_that_only_falls_silent_does() -> None:
    observer = Observer()
    observe([pod()], report(active=2), observer=observer, now=0.0)
    assert observe([pod()], report(active=2), observer=observer, now=STALE_SECONDS).running == SLOTS
    assert observe([pod(running=False)], report(active=2), observer=observer, now=STALE_SECONDS).running == 0


def test_a_worker_without_agent_whose_probe_fails_once_is_not_taken_for_one_that_never_started() -> None:
    observer = Observer()
    observe([pod()], observer=observer, now=0.0)
    unready = observe([pod(ready=False, drain_token="t")], marks={"a": "t"}, observer=observer, now=0.5)
    assert unready.running == SLOTS
    assert unready.pods()[0].started


def test_a_worker_that_waits_to_be_started_anew_holds_nothing_and_will_find_its_mark() -> None:
    """Otherwise a pod in a crash loop, which Kubernetes would stop first, kept all others for ever."""
    observer = Observer()
    observe([pod()], report(active=2), observer=observer, now=0.0)
    crashed = pod(ready=False, running=False, restarts=3)
    at_once = observe([crashed], report(active=2), observer=observer, now=0.5).pods()[0]
    assert at_once.started, "what was just reported is believed rather than the Pod"
    later = observe([crashed], report(active=2), observer=observer, now=STALE_SECONDS).pods()[0]
    assert (later.started, later.drainable, later.running) == (False, True, 0)
    again = observe([pod(ready=False, restarts=4)], observer=observer, now=STALE_SECONDS + 1).pods()[0]
    assert (again.started, again.drainable) == (True, False)


def test_kubernetes_is_given_a_second_to_learn_of_changed_costs() -> None:
    observer = Observer()

    def recent(cost: int, now: float) -> set[int]:
        seen = observe([pod(deletion_cost=cost)], report(), observer=observer, now=now).pods()[0]
        assert seen.cost == cost
        return set(seen.recent_costs)

    assert recent(0, 0.0) == set()
    assert recent(MARKED_COST, 1.0) == {0}
    assert recent(RELEASED_COST, 1.5) == {0, MARKED_COST}
    assert recent(RELEASED_COST, 1.4 + SETTLE_SECONDS) == {0, MARKED_COST}
    assert recent(RELEASED_COST, 1.5 + SETTLE_SECONDS) == set()
    assert recent(0, 9.0) == {RELEASED_COST}
    assert recent(RELEASED_COST, 9.5) == {0}


def test_a_pod_that_only_bears_the_label_is_no_replica() -> None:
    assert observe([pod(replica_set=None)], report()).pods() == ()


def test_pods_of_two_replica_sets_are_a_rollout_whatever_the_deployment_tells() -> None:
    assert observe([pod("a"), pod("b", replica_set="rs-2")]).replica_sets == 2


def test_a_worker_that_holds_what_it_has_not_started_is_not_idle() -> None:
    assert observe([pod()], report(reserved=3)).running == 1


def test_drained_is_believed_only_for_the_mark_that_the_pod_carries() -> None:
    marked = pod(drain_token="new")
    old = observe([marked], report(state="drained", token="old"), marks={"a": "new"})
    assert not old.pods()[0].drained
    own = observe([marked], report(state="drained", token="new"), marks={"a": "new"})
    assert own.pods()[0].drained


def test_drained_is_not_believed_without_any_mark() -> None:
    assert not observe([pod()], report(state="drained", token=None)).pods()[0].drained


def test_a_mark_counts_once_both_the_pod_and_redis_show_it() -> None:
    marked = pod(drain_token="t")
    assert not observe([marked], report()).pods()[0].marked
    assert observe([marked], report(), marks={"a": "t"}).pods()[0].marked


def test_a_ready_pod_that_never_reports_is_told_of_after_a_while() -> None:
    observer = Observer()
    observe([pod()], observer=observer, now=0.0)
    assert trouble_of(pool(), observe([pod()], observer=observer, now=MISSING_SECONDS - 1)) is None
    trouble = trouble_of(pool(), observe([pod()], observer=observer, now=MISSING_SECONDS))
    assert trouble is not None
    assert trouble.reason == Reason.AGENT_MISSING
    assert "spec.agent: disabled" in trouble.message


def test_workers_whose_reports_redis_has_just_lost_are_no_trouble_yet() -> None:
    observer = Observer()
    observe([pod()], observer=observer, now=0.0)
    observe([pod()], report(), observer=observer, now=100.0)
    assert trouble_of(pool(), observe([pod()], observer=observer, now=100.5)) is None
    assert trouble_of(pool(), observe([pod()], observer=observer, now=100.0 + MISSING_SECONDS)) is not None


def test_a_worker_whose_report_redis_has_just_lost_is_drained_and_not_stopped_at_once_for_a_pin() -> None:
    observer = Observer()
    observe([pod()], report(active=4), observer=observer, now=0.0)
    lost = observe([pod()], observer=observer, now=0.5).pods()[0]
    assert (lost.drainable, lost.running) == (True, SLOTS)
    assert not observe([pod()], observer=observer, now=MISSING_SECONDS).pods()[0].drainable


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (report(queues=("celery", "other")), "celery,other"),
        (report(slots=8), "8 tasks at a time"),
        (report(pool_class="celery.concurrency.solo:TaskPool"), "celery.concurrency.solo"),
    ],
)
def test_a_worker_that_is_not_what_the_spec_says_is_named_with_the_difference(said: WorkerReport, named: str) -> None:
    trouble = trouble_of(pool(), observe([pod()], said))
    assert trouble is not None
    assert trouble.reason == Reason.WORKER_MISMATCH
    assert named in trouble.message


def test_every_pool_type_of_celery_is_told_by_its_class() -> None:
    threads = replace(pool(), pool_type=PoolType.THREADS)
    assert trouble_of(threads, observe([pod()], report(pool_class="celery.concurrency.thread:TaskPool"))) is None


def test_a_launcher_that_swallows_signals_is_told() -> None:
    trouble = trouble_of(pool(), observe([pod()], report(signals=False)))
    assert trouble is not None
    assert trouble.reason == Reason.SIGNALS_NOT_FORWARDED


@pytest.mark.parametrize(
    ("said", "quiet"),
    [
        ({}, True),
        ({"active": 1}, False),
        ({"reserved": 1}, False),
        ({"scheduled": 1}, False),
        ({"state": "disconnected"}, False),
        ({"signals": None}, True),
        ({"signals": False}, None),
    ],
)
def test_a_worker_is_at_rest_by_its_own_word_and_only_where_it_hears_of_its_end(
    said: dict[str, Any], quiet: bool | None
) -> None:
    (seen,) = observe([pod()], report(**said)).pods()
    assert seen.quiet is quiet


def test_nobody_knows_whether_a_silent_worker_is_at_rest() -> None:
    observer = Observer()
    observe([pod()], report(), observer=observer)
    (seen,) = observe([pod()], report(), observer=observer, now=STALE_SECONDS).pods()
    assert seen.quiet is None


def test_a_worker_is_restless_once_it_has_held_something_for_seconds() -> None:
    observer = Observer()
    for now, active, restless in ((0.0, 1, False), (4.0, 1, False), (5.0, 1, True), (6.0, 0, False), (10.0, 1, False)):
        (seen,) = observe([pod()], report(counter=int(now) + 1, active=active), observer=observer, now=now).pods()
        assert seen.restless is restless, now


def test_the_drain_that_began_first_is_the_oldest_until_its_pod_works_again() -> None:
    observer = Observer()
    first, second = pod("a", drain_token="t"), pod("b", drain_token="u")
    both = {"a": "t", "b": "u"}
    assert observe([pod("a"), pod("b")], observer=observer, now=0.0).oldest_drain_seconds == 0
    assert observe([first, pod("b")], marks={"a": "t"}, observer=observer, now=10.0).oldest_drain_seconds == 0
    assert observe([first, second], marks=both, observer=observer, now=40.0).oldest_drain_seconds == 30
    assert observe([pod("a"), second], marks={"b": "u"}, observer=observer, now=50.0).oldest_drain_seconds == 10
    assert observe([first, second], marks=both, observer=observer, now=60.0).oldest_drain_seconds == 20
