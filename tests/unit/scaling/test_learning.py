"""What is learned from counters: runtimes, rates, starts and ages, without a negative rate and in bounded memory."""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac.scaling.arrivals import CURVE_POINTS, RECENT_POINTS
from celeriac.scaling.learning import (
    COLD_STARTS,
    FORGET_SECONDS,
    RUNTIME_SECONDS,
    RUNTIME_TASKS,
    Learned,
    Sample,
    learn,
)

pytestmark = pytest.mark.unit

Counters = Mapping[str, tuple[int, float]]


@dataclass
class Observed:
    """Takes one sample after the other."""

    learned: Learned = field(default_factory=Learned)
    now: float = 1000.0

    def sees(
        self,
        counters: Counters | None = None,
        *,
        waiting: int = 0,
        running: int = 0,
        started: Mapping[str, bool] | None = None,
        after: float = 1.0,
    ) -> Learned:
        self.now += after
        self.learned = learn(
            self.learned, Sample(self.now, waiting, waiting + running, counters or {}, started=started or {})
        )
        return self.learned


def steady(pool: Observed, seconds: int, *, per_second: int, runtime: float, process: str = "a", start: int = 0) -> int:
    """Let so many tasks a second come and be done at once; return the counter at the end."""
    done = start
    for _ in range(seconds):
        done += per_second
        pool.sees({process: (done, done * runtime)})
    return done


class TestRuntime:
    def test_it_is_unknown_until_five_tasks_were_seen(self) -> None:
        pool = Observed()
        pool.sees({"a": (0, 0.0)})
        assert pool.sees({"a": (4, 8.0)}).runtime_seconds is None
        assert pool.sees({"a": (5, 10.0)}).runtime_seconds == 2.0

    def test_what_a_former_leader_knew_serves_until_then(self) -> None:
        pool = Observed(Learned.seeded(runtime_seconds=30.0, cold_start_seconds=7.0))
        assert pool.learned.runtime_seconds == 30.0
        assert pool.learned.cold_start_seconds == 7.0
        pool.sees({"a": (1000, 2000.0)})
        assert pool.sees({"a": (1004, 2008.0)}).runtime_seconds == 30.0
        assert pool.sees({"a": (1005, 2010.0)}).runtime_seconds == 2.0

    def test_what_was_done_before_the_first_reading_is_not_counted_as_done_now(self) -> None:
        pool = Observed()
        pool.sees({"a": (100_000, 5e6)})
        learned = pool.sees({"a": (100_000, 5e6)})
        assert learned.runtime_seconds is None
        assert learned.departure_rate == 0.0

    def test_an_unfinished_task_counts_with_the_time_that_it_has_taken_so_far(self) -> None:
        pool = Observed()
        pool.sees({"a": (0, 0.0)})
        pool.sees({"a": (10, 10.0)})
        assert pool.learned.runtime_seconds == 1.0
        for second in range(1, 41):
            pool.sees({"a": (10, 10.0 + second)}, running=1)
        assert pool.learned.runtime_seconds == 5.0, "50 busy seconds for 10 tasks"

    def test_it_follows_a_change_within_a_minute(self) -> None:
        pool = Observed()
        pool.sees({"a": (0, 0.0)})
        done = steady(pool, 300, per_second=10, runtime=0.1)
        assert pool.learned.runtime_seconds == pytest.approx(0.1)
        busy = done * 0.1
        for second in range(1, int(RUNTIME_SECONDS) + 2):
            pool.sees({"a": (done + second, busy + 4.0 * second)}, running=4)
        assert pool.learned.runtime_seconds == pytest.approx(4.0)

    def test_long_tasks_count_over_the_last_twenty(self) -> None:
        """One task of 600 s after another: a minute would not see one of them end."""
        pool = Observed()
        pool.sees({"a": (0, 0.0)})
        for minute in range(1, 10 * 60):
            pool.sees({"a": (minute // 10, minute * 60.0)}, running=1, after=60.0)
        assert pool.learned.runtime_seconds == pytest.approx(600, rel=1 / RUNTIME_TASKS)


class TestProcesses:
    def test_a_restarted_worker_counts_from_zero_and_loses_nothing(self) -> None:
        pool = Observed()
        pool.sees({"old": (0, 0.0)})
        pool.sees({"old": (6, 12.0)})
        learned = pool.sees({"new": (4, 8.0)})
        assert learned.totals is not None
        assert (learned.totals.processed, learned.totals.busy) == (10, 20.0)
        assert learned.runtime_seconds == 2.0

    def test_a_counter_that_falls_back_under_the_same_name_is_a_new_start(self) -> None:
        pool = Observed()
        pool.sees({"a": (50, 50.0)})
        assert pool.sees({"a": (5, 10.0)}).runtime_seconds == 2.0

    def test_a_report_that_was_lost_for_a_minute_is_not_counted_twice(self) -> None:
        pool = Observed()
        pool.sees({"a": (5000, 5000.0)})
        for _ in range(60):
            pool.sees({})
        learned = pool.sees({"a": (5001, 5001.0)})
        assert learned.totals is not None
        assert learned.totals.processed == 1

    def test_after_a_long_outage_a_life_s_work_is_not_taken_for_that_of_the_last_minutes(self) -> None:
        pool = Observed()
        done = steady(pool, 120, per_second=2, runtime=3.0)
        pool.sees({"a": (0, 0.0), "b": (0, 0.0)})
        pool.sees({"a": (done, done * 3.0), "b": (1_000_000, 5_000_000.0)}, after=FORGET_SECONDS)
        learned = pool.sees({"a": (done + 2, done * 3.0 + 6.0), "b": (1_000_000, 5_000_000.0)})
        assert learned.arrival_rate < 1
        assert learned.departure_rate < 1
        assert learned.runtime_seconds == pytest.approx(3.0), "as before the outage, until enough was seen"

    def test_workers_that_come_and_go_are_forgotten(self) -> None:
        pool = Observed()
        for number in range(2000):
            pool.sees({f"worker-{number}": (3, 3.0)})
        assert len(pool.learned.processes) <= 601


class TestRates:
    def test_a_steady_flow_is_measured(self) -> None:
        pool = Observed()
        pool.sees({"a": (0, 0.0)})
        steady(pool, 200, per_second=7, runtime=0.1)
        assert pool.learned.departure_rate == pytest.approx(7, rel=0.01)
        assert pool.learned.arrival_rate == pytest.approx(7, rel=0.01)

    def test_a_backlog_that_only_shrinks_has_no_arrivals(self) -> None:
        pool = Observed()
        pool.sees({"a": (0, 0.0)}, waiting=100)
        for second in range(1, 51):
            pool.sees({"a": (2 * second, 2.0 * second)}, waiting=100 - 2 * second)
        assert pool.learned.arrival_rate == 0.0
        assert pool.learned.departure_rate > 1.5

    def test_what_waits_with_nobody_to_take_it_has_arrived(self) -> None:
        pool = Observed()
        pool.sees()
        for second in range(1, 121):
            pool.sees(waiting=3 * second)
        assert pool.learned.arrival_rate == pytest.approx(3, rel=0.02)

    def test_a_missed_minute_of_readings_loses_no_arrival(self) -> None:
        """A broker in doubt gives no sample; afterwards the counters tell what happened meanwhile."""
        pool = Observed()
        pool.sees({"a": (0, 0.0)})
        steady(pool, 100, per_second=5, runtime=0.1)
        pool.sees({"a": (800, 80.0)}, after=60.0)
        assert pool.learned.arrival_rate == pytest.approx(5, rel=0.02)

    def test_reports_that_lag_by_turns_make_neither_negative_rates_nor_arrivals(self) -> None:
        """A task leaves the queue at once and shows up in its worker's report up to a second later."""
        chance = random.Random(3)
        pool = Observed()
        queue, done, reported = 400, 0, 0
        pool.sees({"a": (0, 0.0)}, waiting=queue, after=0.5)
        while queue:
            queue, done = queue - 1, done + 1
            reported = done if chance.random() < 0.4 or done - reported > 2 else reported
            pool.sees({"a": (reported, float(reported))}, waiting=queue, after=0.5)
            assert pool.learned.arrival_rate == 0.0
        assert pool.learned.departure_rate > 1

    def test_after_a_purge_arrivals_are_seen_again_within_seconds(self) -> None:
        pool = Observed()
        pool.sees(waiting=10_000)
        for _ in range(10):
            pool.sees(waiting=0)
        assert pool.learned.arrival_rate == 0.0
        assert pool.sees(waiting=30).arrival_rate == pytest.approx(30 / 30, rel=0.05)


class TestColdStart:
    def test_it_is_the_mean_from_the_first_sight_of_a_pod_to_its_first_consuming(self) -> None:
        pool = Observed()
        pool.sees()
        pool.sees(started={"a": False, "b": False})
        for _ in range(3):
            pool.sees(started={"a": False, "b": False})
        pool.sees(started={"a": True, "b": False})
        assert pool.learned.cold_start_seconds == 4.0
        pool.sees(started={"a": True, "b": False})
        pool.sees(started={"a": True, "b": True})
        assert pool.learned.cold_start_seconds == 5.0

    def test_pods_that_were_there_before_the_first_reading_say_nothing(self) -> None:
        pool = Observed()
        pool.sees(started={"a": False, "b": True})
        assert pool.sees(started={"a": True, "b": True}).cold_start_seconds == 0.0

    def test_a_worker_that_restarts_in_its_pod_is_no_cold_start(self) -> None:
        pool = Observed()
        for started in ({}, {"a": False}, {"a": True}, {"a": False}, {"a": False}, {"a": True}):
            pool.sees(started=started)
        assert pool.learned.cold_starts == (1.0,)

    def test_a_pod_that_came_up_while_nobody_could_look_is_not_counted(self) -> None:
        pool = Observed()
        pool.sees()
        pool.sees(started={"a": False})
        assert pool.sees(started={"a": True}, after=300.0).cold_starts == ()

    def test_the_last_ten_pods_count(self) -> None:
        pool = Observed()
        pool.sees()
        for number in range(30):
            pool.sees(started={f"pod-{number}": False})
            pool.sees(started={f"pod-{number}": True}, after=1.0 if number < 20 else 3.0)
        assert pool.learned.cold_starts == (3.0,) * COLD_STARTS


class TestOldest:
    def test_first_in_first_out(self) -> None:
        """10 tasks come at once, 10 more 20 s later; after 12 were taken, the oldest is of the second lot."""
        pool = Observed()
        pool.sees()
        pool.sees(waiting=10)
        for _ in range(19):
            pool.sees(waiting=10)
        assert pool.learned.oldest_seconds == 19.0
        pool.sees(waiting=20)
        assert pool.learned.oldest_seconds == 20.0
        pool.sees({"a": (10, 10.0)}, waiting=10, after=5.0)
        assert pool.learned.oldest_seconds == 5.0
        assert pool.sees({"a": (12, 12.0)}, waiting=8, after=5.0).oldest_seconds == 10.0
        assert pool.sees({"a": (20, 20.0)}, waiting=0).oldest_seconds == 0.0

    def test_taken_and_running_is_not_waiting(self) -> None:
        pool = Observed()
        pool.sees()
        pool.sees(waiting=5)
        pool.sees(waiting=0, running=5)
        assert pool.sees(waiting=0, running=5).oldest_seconds == 0.0

    def test_what_comes_back_to_the_queue_counts_from_then(self) -> None:
        pool = Observed()
        pool.sees()
        pool.sees(running=5, after=50.0)
        pool.sees(waiting=5)
        assert pool.sees(waiting=5, after=7.0).oldest_seconds == 7.0

    def test_the_age_of_what_a_new_leader_finds_is_counted_from_then(self) -> None:
        pool = Observed()
        pool.sees(waiting=5)
        assert pool.sees(waiting=5, after=9.0).oldest_seconds == 9.0

    def test_a_day_of_backlog_costs_resolution_and_no_memory(self) -> None:
        pool = Observed()
        pool.sees()
        for tick in range(1, 20_001):
            pool.sees(waiting=tick)
        assert pool.learned.arrivals is not None
        assert len(pool.learned.arrivals.curve) <= CURVE_POINTS
        assert pool.learned.oldest_seconds == 19_999.0
        pool.sees({"a": (10_000, 1.0)}, waiting=10_000)
        error = pool.learned.oldest_seconds - 10_000
        assert 0 <= error <= 2 * 20_000 / CURVE_POINTS, "rather too old than too young"


readings = st.lists(
    st.tuples(
        st.floats(0.1, 100),
        st.integers(0, 500),
        st.integers(0, 100),
        st.dictionaries(st.sampled_from("abc"), st.tuples(st.integers(0, 1000), st.floats(0, 1e6)), max_size=3),
        st.dictionaries(st.sampled_from("xyz"), st.booleans(), max_size=3),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(readings)
def test_whatever_is_reported_no_figure_is_negative_and_memory_is_bounded(
    story: Iterable[tuple[float, int, int, dict[str, tuple[int, float]], dict[str, bool]]],
) -> None:
    pool = Observed()
    totals = [0]
    for after, waiting, running, counters, started in story:
        learned = pool.sees(counters, waiting=waiting, running=running, started=started, after=after)
        assert learned.arrival_rate >= 0
        assert learned.departure_rate >= 0
        assert learned.cold_start_seconds >= 0
        assert learned.oldest_seconds >= 0
        assert learned.runtime_seconds is None or learned.runtime_seconds >= 0
        assert (learned.oldest_seconds > 0) <= (waiting > 0)
        assert learned.arrivals is not None
        assert len(learned.arrivals.recent) <= RECENT_POINTS
        assert len(learned.past) <= RUNTIME_SECONDS + RUNTIME_TASKS + 2
        totals.append(learned.arrivals.total)
    assert all(after >= before for before, after in pairwise(totals))


def test_the_same_moment_twice_changes_nothing() -> None:
    pool = Observed()
    pool.sees({"a": (0, 0.0)})
    once = pool.sees({"a": (10, 10.0)}, waiting=3)
    assert learn(once, Sample(pool.now, 50, 50, {"a": (99, 99.0)})) == once
