"""The status of a pool: what a person reads, and when a change of it is worth a write."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from celeriac.api.keys import PoolKey
from celeriac.api.reasons import Reason
from celeriac.autoscaling.outcome import Outcome, urgent_outcome
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.cluster.problems import Problem
from celeriac.cluster.records import DeploymentRecord, PodRecord
from celeriac.reporting.conditions import conditions
from celeriac.reporting.status import build_status, noteworthy, urgent
from celeriac.reporting.view import View
from celeriac.scaling.decide import decide, fresh_history
from celeriac.scaling.learning import Learned
from celeriac.scaling.plan import plan
from celeriac.scaling.policy import Policy
from celeriac.scaling.workload import Demand, Workload
from celeriac.watching.store import KnownPool
from celeriac.workers.observer import Observer
from celeriac.workers.trouble import Trouble
from tests.unit.builders.workers import pod as worker_pod
from tests.unit.builders.workers import report as worker_report

pytestmark = pytest.mark.unit

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
KEY = PoolKey("team", "ml")


def known(**spec: Any) -> KnownPool:
    given = {"image": "app:1", "app": "app", "pool": "solo", "broker": {"url": "redis://redis:6379/0"}}
    metadata = {"namespace": "team", "name": "ml", "uid": "1", "generation": 3}
    return KnownPool.from_body({"metadata": metadata, "spec": given | spec})


def deployment(wanted: int, ready: int, **more: Any) -> DeploymentRecord:
    record = DeploymentRecord(
        key=KEY,
        uid="d",
        generation=1,
        observed_generation=1,
        spec_replicas=wanted,
        replicas=wanted,
        ready=ready,
        updated=wanted,
    )
    return replace(record, **more)


def pod(name: str, problem: Problem | None = None, *, terminating: bool = False) -> PodRecord:
    return PodRecord(
        key=KEY,
        uid=name,
        name=name,
        terminating=terminating,
        problem=problem,
    )


def outcome(waiting: int, running: int, replicas: int) -> Outcome:
    policy = Policy(slots=1)
    demand = Demand(waiting=waiting, running=running, current_replicas=replicas)
    decision = decide(policy, demand, fresh_history(replicas, 0.0), 100.0)
    return Outcome(demand, decision, plan(policy, decision, demand, Workload(replicas)), None)


def view(**more: Any) -> View:
    return replace(View(known(), deployment(0, 0), outcome=outcome(0, 0, 0)), **more)


def ready(shown: View) -> tuple[str, str, str]:
    condition = next(c for c in conditions(shown) if c.type == "Ready")
    return condition.status, condition.reason, condition.message


def test_a_pool_at_zero_is_ready_because_nothing_is_wanted_of_it() -> None:
    assert ready(view())[:2] == ("True", Reason.SCALED_TO_ZERO)


def test_a_pool_that_grows_stays_ready_on_the_pods_it_has() -> None:
    assert ready(view(deployment=deployment(5, 2)))[:2] == ("True", Reason.READY)
    assert ready(view(deployment=deployment(5, 0)))[:2] == ("False", Reason.PODS_STARTING)


def test_a_pod_that_gets_no_sandbox_is_named_for_only_its_events_tell_why() -> None:
    pods = [replace(pod(name), setting_up=True) for name in ("ml-a", "ml-b")]
    message = ready(view(deployment=deployment(2, 0), pods=pods))[2]
    assert message == (
        "0 of 2 replicas are ready; no volumes or no network yet: ml-a and 1 more (kubectl describe pod ml-a tells why)"
    )
    rolling = view(deployment=deployment(2, 0, updated=1), pods=pods[:1])
    assert "no volumes or no network yet: ml-a (" in ready(rolling)[2]


def test_an_invalid_spec_names_the_field_and_stops_scaling() -> None:
    shown = view(known=known(concurrency=3), outcome=None)
    assert ready(shown)[:2] == ("False", Reason.INVALID_SPEC)
    assert "spec.concurrency" in ready(shown)[2]
    assert [c.status for c in conditions(shown) if c.type == "ScalingActive"] == ["False"]


def test_a_refused_pod_tells_the_cure_of_its_refusal() -> None:
    quota = deployment(2, 0, replica_failure='pods "ml-1" is forbidden: exceeded quota: small')
    assert ready(view(deployment=quota))[1] == Reason.QUOTA_EXCEEDED
    assert "ResourceQuota" in ready(view(deployment=quota))[2]
    security = deployment(2, 0, replica_failure='pods "ml-1" is forbidden: violates PodSecurity "restricted:latest"')
    assert "podSecurity: Restricted" in ready(view(deployment=security))[2]


def test_the_problem_of_most_pods_is_told_and_that_of_a_terminating_one_is_not() -> None:
    image = Problem(Reason.IMAGE_PULL_FAILED, "no such image")
    crash = Problem(Reason.CRASH_LOOP, "exit code 1")
    pods = [pod("a", crash), pod("b", image), pod("c", image), *(pod(n, crash, terminating=True) for n in "def")]
    assert ready(view(deployment=deployment(3, 0), pods=pods)) == (
        "False",
        Reason.IMAGE_PULL_FAILED,
        "2 pod(s): no such image",
    )


def test_a_broker_in_doubt_is_told_in_its_own_words() -> None:
    doubt = BrokerDoubt(Reason.BROKER_LOADING, "Redis loads its data; wait")
    reachable = next(c for c in conditions(view(broker=doubt)) if c.type == "BrokerReachable")
    assert (reachable.status, reachable.reason, reachable.message) == ("False", "Loading", "Redis loads its data; wait")


def test_a_transition_time_moves_with_the_status_of_a_condition_and_not_with_its_words() -> None:
    first = build_status(view(deployment=deployment(2, 1)), {}, NOW, "selector")
    later = build_status(view(deployment=deployment(3, 2)), first, NOW + timedelta(minutes=5), "selector")
    lost = build_status(view(deployment=deployment(3, 0)), later, NOW + timedelta(minutes=9), "selector")
    times = [status["conditions"][0]["lastTransitionTime"] for status in (first, later, lost)]
    assert times == ["2026-01-01T12:00:00Z", "2026-01-01T12:00:00Z", "2026-01-01T12:09:00Z"]


def test_a_decision_that_is_held_back_shows_why() -> None:
    held = outcome(waiting=0, running=1, replicas=5)
    assert held.decision.replicas < 5
    status = build_status(view(deployment=deployment(5, 5), outcome=held), {}, NOW, "selector")
    assert status["decision"]["reason"] == Reason.TASKS_IN_FLIGHT
    assert "1 running" in status["decision"]["message"]


def test_when_a_pool_goes_to_sleep_is_told_by_the_moment_which_stays_true() -> None:
    """Written at noon after 86 s of idleness, read at any time; a write half a second later says the same."""
    policy, demand = Policy(slots=1), Demand(waiting=0, running=0, current_replicas=1)
    decision = decide(policy, demand, fresh_history(1, 0.0, idle_since=0.0), 86.0)
    assert decision.reason == Reason.ZERO_PENDING
    idle = Outcome(demand, decision, plan(policy, decision, demand, Workload(1)), idle_seconds=86.0)
    first = build_status(view(deployment=deployment(1, 1), outcome=idle), {}, NOW, "s")
    assert first["decision"]["message"] == (
        "0 after 300 s of nothing waiting, running or scheduled: at 2026-01-01T12:03:34Z"
    )
    later = replace(idle, idle_seconds=87.9)
    moment = NOW + timedelta(seconds=1.4)
    second = build_status(view(deployment=deployment(1, 1), outcome=later), first, moment, "s")
    assert second["decision"] == first["decision"]


def test_counts_alone_are_no_urgent_news_but_replicas_and_conditions_are() -> None:
    before = build_status(view(outcome=outcome(7, 0, 20), deployment=deployment(20, 20)), {}, NOW, "s")
    counts = build_status(view(outcome=outcome(8, 1, 20), deployment=deployment(20, 20)), before, NOW, "s")
    assert counts != before
    assert urgent(counts) == urgent(before)
    fewer = build_status(view(outcome=outcome(7, 0, 20), deployment=deployment(20, 19)), before, NOW, "s")
    assert noteworthy(fewer) != noteworthy(before)
    assert urgent(fewer) != urgent(before)  # a pod that is missing makes it Reconciling


def test_a_reason_that_swings_with_every_tick_is_worth_noting_but_not_urgent() -> None:
    status = build_status(view(), {}, NOW, "s")
    swung = status | {"decision": status["decision"] | {"reason": Reason.STABILIZED}}
    assert urgent(swung) == urgent(status)
    assert noteworthy(swung) != noteworthy(status)


def test_a_dry_run_is_not_active_and_a_refused_scale_says_who_refused_it() -> None:
    dry = view(known=known(scaling={"mode": "DryRun"}))
    refused = view(scale_refusal="Forbidden: deployments/scale is forbidden")
    active = [next(c for c in conditions(shown) if c.type == "ScalingActive") for shown in (view(), dry, refused)]
    assert [(c.status, c.reason) for c in active] == [
        ("True", Reason.SCALING),
        ("False", Reason.DRY_RUN),
        ("False", Reason.FAILED_UPDATE_SCALE),
    ]
    assert "deployments/scale is forbidden" in active[2].message


def with_workers(*pods: PodRecord, **marks: str) -> Outcome:
    """An outcome of a pool whose workers report, each of them runs two tasks."""
    reports = {each.uid: worker_report(each.uid, active=2, reserved=1) for each in pods}
    workers = Observer().observe(pods, reports, marks, 4, 0.0)
    learned = Learned.seeded(runtime_seconds=1.23456, cold_start_seconds=2.04)
    demand = Demand(waiting=1, running=2, current_replicas=1, held_elsewhere=3, agent=True, runtime_seconds=1.23456)
    return replace(outcome(1, 2, 1), demand=demand, workers=workers, learned=learned, dead={"celery": 2})


def test_what_the_workers_report_is_in_the_status() -> None:
    view = View(known=known(), deployment=deployment(1, 1), outcome=with_workers(worker_pod()))
    status = build_status(view, {}, NOW, "selector")
    counts = ("reserved", "heldElsewhere", "deadLetters")
    times = ("taskRuntimeSeconds", "oldestTaskSeconds", "coldStartSeconds")
    told = (*counts, *times, "arrivalsPerSecond", "departuresPerSecond")
    assert {name: status[name] for name in told} == {
        "reserved": 1,
        "heldElsewhere": 3,
        "deadLetters": 2,
        "taskRuntimeSeconds": 1.235,
        "oldestTaskSeconds": 0,
        "coldStartSeconds": 2.0,
        "arrivalsPerSecond": 0.0,
        "departuresPerSecond": 0.0,
    }


def test_a_marked_worker_is_told_of_at_once_and_with_what_it_still_runs() -> None:
    idle, draining = with_workers(worker_pod()), with_workers(worker_pod(drain_token="t"), a="t")
    view = View(known=known(), deployment=deployment(1, 1), outcome=draining)
    (condition,) = (each for each in conditions(view) if each.type == "Draining")
    assert (condition.status, condition.reason) == ("True", Reason.DRAINING)
    assert "2 running" in condition.message
    assert urgent_outcome(idle) != urgent_outcome(draining)


def test_a_worker_that_is_not_what_the_spec_says_is_trouble_but_not_in_a_rollout() -> None:
    wrong = replace(with_workers(worker_pod()), trouble=Trouble(Reason.WORKER_MISMATCH, "other queues"))
    steady = View(known=known(), deployment=deployment(1, 1), outcome=wrong)
    assert conditions(steady)[0].reason == Reason.WORKER_MISMATCH
    rolling = View(known=known(), deployment=deployment(1, 1, updated=0), outcome=wrong)
    assert conditions(rolling)[0].reason == Reason.READY


def test_another_writer_of_the_replicas_is_named_with_the_cure() -> None:
    for rival, cure in (("kube-controller-manager", "delete it (kubectl get hpa -n"), ("argocd", "GitOps")):
        found = next(c for c in conditions(view(deployment=deployment(2, 2), rival=rival)) if c.type == "ScalingActive")
        assert (found.status, found.reason) == ("False", Reason.ANOTHER_WRITER)
        assert rival in found.message
        assert cure in found.message
