"""When a pool stops being Reconciling and is Stalled, in virtual time: what has its time, and what gives it anew."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from celeriac.api.keys import PoolKey
from celeriac.api.reasons import Reason
from celeriac.autoscaling.outcome import Outcome
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.cluster.problems import Problem
from celeriac.cluster.records import DeploymentRecord, PodRecord
from celeriac.reporting.status import Status
from celeriac.reporting.status_book import Budget, StatusBook
from celeriac.reporting.view import Condition, View
from celeriac.scaling.decide import decide, fresh_history
from celeriac.scaling.plan import plan
from celeriac.scaling.policy import Policy
from celeriac.scaling.workload import Demand, Workload
from celeriac.watching.store import KnownPool

pytestmark = pytest.mark.unit

KEY = PoolKey("team", "ml")
NO_SECRET = BrokerDoubt(Reason.SECRET_NOT_FOUND, "the Secret broker does not exist: create it")
AWAY = BrokerDoubt(Reason.BROKER_CONNECTION_FAILED, "Redis at redis:6379 cannot be reached")
SLOW = BrokerDoubt(Reason.BROKER_TIMEOUT, "Redis at redis:6379 did not answer in time")
CRASH = Problem(Reason.CRASH_LOOP, "container worker ended with exit code 1; read the worker's log")
FULL = Problem(Reason.UNSCHEDULABLE, "0/3 nodes are available; add nodes")
QUOTA = 'pods "ml-1" is forbidden: exceeded quota: small'


def known(status: Status | None = None, **spec: Any) -> KnownPool:
    given = {"image": "app:1", "app": "app", "pool": "solo", "broker": {"url": "redis://redis:6379/0"}}
    metadata = {"namespace": "team", "name": "ml", "uid": "1", "generation": 3}
    return KnownPool.from_body({"metadata": metadata, "spec": given | spec, "status": status or {}})


def outcome(waiting: int = 0, replicas: int = 0) -> Outcome:
    policy, demand = Policy(slots=1), Demand(waiting=waiting, running=0, current_replicas=replicas)
    decision = decide(policy, demand, fresh_history(replicas, 0.0), 1.0)
    return Outcome(demand, decision, plan(policy, decision, demand, Workload(replicas)))


def deployment(wanted: int, ready: int, **more: Any) -> DeploymentRecord:
    record = DeploymentRecord(KEY, "d", 1, 1, spec_replicas=wanted, replicas=wanted, ready=ready, updated=wanted)
    return replace(record, **more)


def pods(problem: Problem, number: int = 1) -> list[PodRecord]:
    return [PodRecord(KEY, str(each), f"ml-{each}", terminating=False, problem=problem) for each in range(number)]


def view(wanted: int = 0, ready: int = 0, *, spec: dict[str, Any] | None = None, **more: Any) -> View:
    given = {"deployment": deployment(wanted, ready), "outcome": outcome(replicas=wanted), **more}
    return View(known(**(spec or {})), **given)


ASLEEP = view()


class Clock:
    """One pool and the time; what the conditions say at each moment. A status is written as the book says."""

    def __init__(self, status: Status | None = None) -> None:
        self.book = StatusBook(Budget(10), 60)
        self.now = 1000.0
        self.status: Status = status or {}

    @property
    def moment(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self.now)

    def sees(self, seen: View, seconds: float = 0.0) -> tuple[str, str, str]:
        """It stays so for `seconds`; then Ready, Reconciling and Stalled: status and reason each."""
        end = self.now + seconds
        while True:
            step = self.book.step(seen, self.moment, self.now)
            if step.write:
                self.status = step.status
                self.book.written(seen, step.status, self.now)
            if self.now >= end:
                return self.tells(step.status)
            self.now = min(self.now + min(step.again_seconds, 5.0), end)

    @staticmethod
    def tells(status: Status) -> tuple[str, str, str]:
        by_type = {each["type"]: f"{each['status']} {each['reason']}" for each in status["conditions"]}
        assert_consistent(status)
        return by_type["Ready"], by_type["Reconciling"], by_type["Stalled"]


def assert_consistent(status: Status) -> None:
    """A pool that is not Ready is Reconciling or Stalled, and never both."""
    holds = {each["type"]: each["status"] == "True" for each in status["conditions"]}
    assert holds["Ready"] or holds["Reconciling"] or holds["Stalled"]
    assert not (holds["Stalled"] and (holds["Ready"] or holds["Reconciling"]))


AT_REST = ("True ScaledToZero", "False Stable", "False NotStalled")


def stalled(reason: str) -> tuple[str, str, str]:
    return f"False {reason}", "False Stalled", f"True {reason}"


def test_a_pool_at_zero_whose_secret_is_missing_is_not_ready_and_stalls_after_a_minute() -> None:
    clock = Clock()
    missing = view(broker=NO_SECRET)
    assert clock.sees(missing) == ("False SecretNotFound", "True SecretNotFound", "False NotStalled")
    assert clock.sees(missing, 59)[2] == "False NotStalled"
    assert clock.sees(missing, 1) == stalled("SecretNotFound")
    assert clock.sees(ASLEEP) == AT_REST, "and is well at once when it is there"


def test_a_broker_that_does_not_answer_has_ten_minutes_whichever_way_it_fails() -> None:
    clock = Clock()
    for number in range(59):
        told = clock.sees(view(broker=SLOW if number % 2 else AWAY), 10)
        assert told[2] == "False NotStalled"
    assert clock.sees(view(broker=AWAY), 10) == stalled("ConnectionFailed")


def test_workers_that_run_stay_ready_while_the_broker_is_in_doubt_until_its_time_is_over() -> None:
    clock = Clock()
    assert clock.sees(view(2, 2, broker=AWAY), 599) == ("True Ready", "True ConnectionFailed", "False NotStalled")
    assert clock.sees(view(2, 2, broker=AWAY), 1) == stalled("ConnectionFailed")
    assert clock.sees(view(2, 2)) == ("True Ready", "False Stable", "False NotStalled")


def test_a_pool_that_wakes_stays_ready_and_one_that_never_comes_up_stalls_after_ten_minutes() -> None:
    clock = Clock()
    assert clock.sees(ASLEEP) == AT_REST
    waking = ("True WakingUp", "True PodsStarting", "False NotStalled")
    assert clock.sees(replace(ASLEEP, outcome=outcome(waiting=4)), 1) == waking
    assert clock.sees(view(4, 0), 598) == waking
    assert clock.sees(view(4, 0), 1) == stalled("ProgressDeadlineExceeded")
    assert clock.sees(view(4, 1)) == ("True Ready", "True PodsStarting", "False NotStalled")


def test_a_pool_that_loses_its_only_pod_is_not_waking() -> None:
    clock = Clock()
    clock.sees(ASLEEP)
    clock.sees(view(1, 1), 100)
    assert clock.sees(view(1, 0)) == ("False PodsStarting", "True PodsStarting", "False NotStalled")


def test_a_pool_that_has_a_floor_is_not_ready_until_its_first_pod_is() -> None:
    clock = Clock()
    for spec in ({"scaling": {"minReplicas": 2}}, {"replicas": 2}):
        undecided = view(0, 0, spec=spec, outcome=None)
        assert clock.sees(undecided)[0] == "False PodsStarting", "the Deployment was made, and no tick has come yet"
        begins = view(0, 0, spec=spec, outcome=outcome(waiting=2))
        assert clock.sees(begins)[0] == "False PodsStarting"
        assert clock.sees(view(2, 0, spec=spec), 10)[0] == "False PodsStarting"
        assert clock.sees(view(2, 2, spec=spec), 10)[0] == "True Ready"


def test_a_crash_loop_stalls_after_a_minute_and_a_pool_without_room_after_five() -> None:
    for problem, seconds in ((CRASH, 60), (FULL, 300)):
        clock = Clock()
        begun = view(1, 0, pods=pods(problem))
        assert clock.sees(begun, seconds - 1) == (
            f"False {problem.reason}",
            f"True {problem.reason}",
            "False NotStalled",
        )
        assert clock.sees(begun, 1) == stalled(problem.reason)


def test_a_pool_that_wakes_may_wait_for_a_node_but_a_crash_is_told_at_once() -> None:
    clock = Clock()
    clock.sees(ASLEEP)
    assert clock.sees(view(1, 0, pods=pods(FULL)), 299)[:2] == ("True WakingUp", "True Unschedulable")
    assert clock.sees(view(1, 0, pods=pods(FULL)), 1) == stalled("Unschedulable")
    clock.sees(ASLEEP)
    assert clock.sees(view(1, 0, pods=pods(CRASH)))[:2] == ("False CrashLoop", "True CrashLoop")


def test_a_rollout_that_goes_on_never_stalls_and_one_that_stands_still_does() -> None:
    clock = Clock()
    for updated in range(1, 10):
        rolling = view(deployment=deployment(10, 10, replicas=11, updated=updated))
        assert clock.sees(rolling, 500) == ("True Ready", "True RollingOut", "False NotStalled")
    assert clock.sees(rolling, 100) == stalled("ProgressDeadlineExceeded")
    assert clock.sees(view(10, 10)) == ("True Ready", "False Stable", "False NotStalled")


def test_a_rollout_whose_pods_crash_stalls_although_the_old_ones_work() -> None:
    clock = Clock()
    rolling = view(deployment=deployment(2, 2, replicas=3, updated=1), pods=pods(CRASH))
    assert clock.sees(rolling, 59) == ("True Ready", "True CrashLoop", "False NotStalled")
    assert clock.sees(rolling, 1) == stalled("CrashLoop")


@pytest.mark.parametrize("short", [{"replica_failure": QUOTA, "replicas": 5}, {}], ids=["quota", "nodes"])
def test_what_the_cluster_has_no_room_for_limits_a_pool_that_works_and_does_not_stall_it(short: dict[str, Any]) -> None:
    clock = Clock()
    lacking = [] if short else pods(FULL, 15)
    more: dict[str, Any] = {"deployment": deployment(20, 5, updated=5 if short else 20, **short), "pods": lacking}
    assert clock.sees(view(**more), 3600) == ("True Ready", "False Stable", "False NotStalled")
    limited = next(each for each in clock.status["conditions"] if each["type"] == "ScalingLimited")
    assert (limited["status"], limited["reason"]) == ("True", "QuotaExceeded" if short else "Unschedulable")
    assert limited["message"].startswith("5 of 20 replicas are ready")
    told = clock.sees(view(**more, spec={"scaling": {"minReplicas": 6}}), 3600)
    assert told == stalled("QuotaExceeded" if short else "Unschedulable"), "but what the spec asks for must be there"


def test_a_refused_deployment_and_one_of_somebody_else_stall_after_a_minute() -> None:
    for reason in (Reason.APPLY_FAILED, Reason.NAME_TAKEN):
        clock = Clock()
        refused = view(deployment=None, outcome=None, refusal=Condition.of("Ready", False, reason, "no"))
        assert clock.sees(refused, 59) == (f"False {reason}", f"True {reason}", "False NotStalled")
        assert clock.sees(refused, 1) == stalled(reason)


def test_an_invalid_spec_stalls_at_once_also_where_workers_run() -> None:
    assert Clock().sees(view(3, 3, spec={"concurrency": 3})) == stalled("InvalidSpec")


def test_a_paused_deployment_is_told_of() -> None:
    clock = Clock()
    paused = view(deployment=deployment(2, 2, paused=True))
    assert clock.sees(paused, 59) == ("True Ready", "True DeploymentPaused", "False NotStalled")
    assert clock.sees(paused, 1) == stalled("DeploymentPaused")


def test_replicas_that_may_not_be_written_keep_a_pool_from_waking() -> None:
    clock = Clock()
    assert clock.sees(view(scale_refusal="Forbidden"), 59)[0] == "False FailedUpdateScale"
    assert clock.sees(view(scale_refusal="Forbidden"), 1) == stalled("FailedUpdateScale")
    assert Clock().sees(view(2, 2, scale_refusal="Forbidden"))[:2] == ("True Ready", "True FailedUpdateScale")


def test_pinned_to_zero_paused_or_a_dry_run_says_that_no_task_wakes_the_pool() -> None:
    for spec, words in (
        ({"replicas": 0}, "kubectl celery resume ml"),
        ({"scaling": {"mode": "Paused"}}, "kubectl celery unpause ml"),
        ({"scaling": {"mode": "DryRun"}}, "scaling.mode is DryRun"),
    ):
        clock = Clock()
        assert clock.sees(view(spec=spec)) == AT_REST
        assert words in clock.status["conditions"][0]["message"]
        assert clock.sees(view(spec=spec, broker=NO_SECRET))[0] == "False SecretNotFound"


def test_an_operator_that_restarts_gives_nothing_all_of_its_time_anew() -> None:
    clock = Clock()
    seen = view(1, 0, pods=pods(FULL))
    clock.sees(seen, 100)
    heir = Clock(clock.status)
    heir.now = clock.now
    seen = replace(seen, known=known(clock.status))
    assert heir.sees(seen, 199)[2] == "False NotStalled"
    assert heir.sees(seen, 1) == stalled("Unschedulable")
    third = Clock()
    third.now = heir.now
    assert third.sees(replace(seen, known=known(heir.status))) == stalled("Unschedulable"), "at once"


@pytest.mark.parametrize("ahead", [-3600, 3600])
def test_a_leader_whose_clock_is_an_hour_off_stalls_nothing_at_once_and_gives_no_hour(ahead: int) -> None:
    clock = Clock()
    seen = view(1, 0, pods=pods(FULL))
    clock.sees(seen, 10)
    heir = Clock(clock.status)
    heir.now = clock.now + ahead
    seen = replace(seen, known=known(clock.status))
    assert heir.sees(seen, 149)[2] == "False NotStalled"
    assert heir.sees(seen, 151) == stalled("Unschedulable")


def test_the_book_comes_back_in_time_for_the_deadline() -> None:
    clock = Clock()
    clock.sees(view(broker=NO_SECRET), 30)
    assert clock.book.step(view(broker=NO_SECRET), clock.moment, clock.now).again_seconds == pytest.approx(30)
