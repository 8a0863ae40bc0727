"""What a Pod's status, as the kubelet writes it, tells the owner of the pool."""

from typing import Any

import pytest

from celeriac.api.reasons import Reason
from celeriac.cluster.records import PodRecord

pytestmark = pytest.mark.unit


def pod(status: dict[str, Any], **metadata: Any) -> PodRecord:
    meta = {"namespace": "shop", "name": "ml-abc", "uid": "u1", "labels": {"celeriac.dev/pool": "ml"}, **metadata}
    return PodRecord.from_body({"metadata": meta, "status": status})


def worker(**status: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "worker", "ready": False, "restartCount": 0, "state": {}, **status}]}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"state": {"waiting": {"reason": reason, "message": message}}}


def ended(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def test_a_pod_that_no_node_can_hold_quotes_the_scheduler_and_names_the_cure() -> None:
    message = "0/3 nodes are available: 3 Insufficient memory."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    problem = pod({"phase": "Pending", "conditions": [condition]}).problem
    assert problem is not None
    assert problem.reason == Reason.UNSCHEDULABLE
    assert message.removesuffix(".") in problem.message
    assert "resources" in problem.message


def test_a_pod_that_the_scheduler_has_not_seen_yet_is_no_problem() -> None:
    assert pod({"phase": "Pending"}).problem is None


@pytest.mark.parametrize(
    "status",
    [
        worker(state=ended(137, "OOMKilled"), restartCount=5),
        worker(**waiting("ImagePullBackOff")),
        {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]},
    ],
)
def test_a_pod_that_was_evicted_is_nobodys_problem_any_more(status: dict[str, Any]) -> None:
    assert pod({"phase": "Running", **status}).problem is not None
    assert pod({"phase": "Failed", "reason": "Evicted", **status}).problem is None


@pytest.mark.parametrize("seen", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"])
def test_an_image_that_cannot_be_pulled_points_at_spec_image(seen: str) -> None:
    problem = pod(worker(**waiting(seen, 'Back-off pulling image "registry.example/app:nope"'))).problem
    assert problem is not None
    assert problem.reason == Reason.IMAGE_PULL_FAILED
    assert "registry.example/app:nope" in problem.message
    assert "spec.image" in problem.message


def test_a_missing_secret_is_named() -> None:
    problem = pod(worker(**waiting("CreateContainerConfigError", 'secret "broker" not found'))).problem
    assert problem is not None
    assert problem.reason == Reason.CONTAINER_CONFIG_ERROR
    assert 'secret "broker" not found' in problem.message


NO_PYTHON = 'exec: "python": executable file not found in $PATH'


@pytest.mark.parametrize(
    "status",
    [
        worker(**waiting("RunContainerError", NO_PYTHON)),
        worker(state=ended(128, "StartError", NO_PYTHON)),
        worker(**waiting("CrashLoopBackOff"), lastState=ended(128, "StartError", NO_PYTHON), restartCount=4),
    ],
    ids=["first start", "just failed", "backing off"],
)
def test_an_image_without_python_says_so_at_every_stage(status: dict[str, Any]) -> None:
    record = pod(status)
    assert record.problem is not None
    assert record.problem.reason == Reason.START_FAILED
    assert NO_PYTHON in record.problem.message
    assert "spec.launcher" in record.problem.message


def test_a_worker_killed_for_memory_again_and_again_is_told_about_its_limit() -> None:
    record = pod(worker(**waiting("CrashLoopBackOff"), lastState=ended(137, "OOMKilled"), restartCount=5))
    assert record.problem is not None
    assert record.problem.reason == Reason.CRASH_LOOP
    assert "exit code 137, OOMKilled after 5 restarts" in record.problem.message
    assert "resources.limits.memory" in record.problem.message


def test_a_crash_loop_does_not_vanish_while_the_next_attempt_runs() -> None:
    attempt = worker(state={"running": {"startedAt": "2026-01-01T00:00:00Z"}}, lastState=ended(1), restartCount=3)
    problem = pod(attempt).problem
    assert problem is not None
    assert problem.reason == Reason.CRASH_LOOP


def test_a_worker_that_has_recovered_from_its_crashes_has_no_problem() -> None:
    status = worker(state={"running": {}}, lastState=ended(1), restartCount=3, ready=True)
    assert pod({**status, "conditions": [{"type": "Ready", "status": "True"}]}).problem is None


def test_a_worker_that_runs_now_is_not_blamed_for_a_start_that_failed_before() -> None:
    assert (
        pod(worker(state={"running": {}}, lastState=ended(128, "StartError", NO_PYTHON), restartCount=1)).problem
        is None
    )


def test_a_single_crash_is_no_loop() -> None:
    assert pod(worker(state=ended(1))).problem is None


def test_a_worker_that_ended_well_during_its_shutdown_has_no_problem() -> None:
    record = pod(worker(state=ended(0, "Completed")), deletionTimestamp="2026-01-01T00:00:00Z")
    assert record.problem is None
    assert record.terminating


def test_an_init_container_that_fails_is_named_before_the_worker_that_waits_for_it() -> None:
    init = {"name": "migrate", "ready": False, "restartCount": 2, **waiting("CrashLoopBackOff"), "lastState": ended(3)}
    record = pod({"initContainerStatuses": [init], **worker(**waiting("PodInitializing"))})
    assert record.problem is not None
    assert record.problem.message.startswith("init container migrate ended with exit code 3")


def test_a_long_message_is_cut_but_its_cure_is_not() -> None:
    problem = pod(worker(**waiting("ErrImagePull", "pull failed:\n" + "x" * 5000))).problem
    assert problem is not None
    assert len(problem.message) == 512
    assert "\n" not in problem.message
    assert problem.message.endswith("name imagePullSecrets in spec.template.spec")


def test_the_scheduler_names_several_wants_and_the_cure_names_each() -> None:
    message = (
        "0/5 nodes are available: 2 Insufficient cpu, 1 Insufficient memory, 2 node(s) had untolerated taint {a: b}"
    )
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    problem = pod({"phase": "Pending", "conditions": [condition]}).problem
    assert problem is not None
    assert "lower cpu and memory in" in problem.message
    assert "the taint a: b" in problem.message


def test_a_pod_behind_a_scheduling_gate_is_not_just_starting() -> None:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "SchedulingGated",
        "message": "Scheduling is blocked due to non-empty scheduling gates",
    }
    problem = pod({"phase": "Pending", "conditions": [condition]}).problem
    assert problem is not None
    assert problem.reason == Reason.UNSCHEDULABLE
    assert "scheduling gate" in problem.message
