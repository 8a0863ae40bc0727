"""Raw bodies of the API server become small records."""

from typing import Any

import pytest

from celeriac.api.keys import PoolKey
from celeriac.cluster.records import DeploymentRecord, PodRecord

pytestmark = pytest.mark.unit


def deployment(status: dict[str, Any], *, replicas: int | None = 4, generation: int = 2) -> DeploymentRecord:
    owner = {"kind": "CeleryWorkerPool", "name": "ml", "uid": "pool-uid", "controller": True}
    onlooker = {"kind": "Team", "name": "data", "uid": "team-uid"}
    metadata = {"namespace": "shop", "name": "ml", "uid": "d1", "generation": generation}
    return DeploymentRecord.from_body(
        {
            "metadata": {**metadata, "ownerReferences": [onlooker, owner]},
            "spec": {} if replicas is None else {"replicas": replicas},
            "status": status,
        }
    )


def counts(*, replicas: int, updated: int, ready: int, observed: int = 2) -> dict[str, Any]:
    """A DeploymentStatus as it is sent: fields that are zero are left out."""
    status = {"replicas": replicas, "updatedReplicas": updated, "readyReplicas": ready, "observedGeneration": observed}
    return {name: count for name, count in status.items() if count}


def test_a_deployment_is_reduced_to_its_counts_and_its_owner() -> None:
    record = deployment(counts(replicas=4, updated=4, ready=3))
    assert record.key == PoolKey("shop", "ml")
    assert (record.spec_replicas, record.replicas, record.updated, record.ready) == (4, 4, 4, 3)
    assert record.controller_uid == "pool-uid"
    assert record.replica_failure is None


def test_a_deployment_that_nobody_has_looked_at_counts_zero_pods() -> None:
    record = deployment({}, replicas=None)
    assert (record.spec_replicas, record.replicas, record.ready) == (1, 0, 0)
    assert record.rollout_in_progress


def test_a_scale_up_whose_pods_are_not_ready_yet_is_no_rollout() -> None:
    assert not deployment(counts(replicas=9, updated=9, ready=2), replicas=9).rollout_in_progress


def test_a_pool_that_rests_at_zero_is_not_rolling_out() -> None:
    assert not deployment(counts(replicas=0, updated=0, ready=0), replicas=0).rollout_in_progress


@pytest.mark.parametrize(
    "status",
    [
        counts(replicas=4, updated=4, ready=4, observed=1),
        counts(replicas=4, updated=0, ready=4),
        counts(replicas=5, updated=2, ready=4),
    ],
    ids=["a spec not observed yet", "a new ReplicaSet without pods", "both ReplicaSets have pods"],
)
def test_a_rollout_is_seen_at_each_of_its_stages(status: dict[str, Any]) -> None:
    assert deployment(status).rollout_in_progress


def test_pods_refused_by_a_quota_are_explained_in_the_words_of_the_api_server() -> None:
    message = 'pods "ml-1" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2'
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    progressing = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
    assert deployment({"conditions": [progressing, failure]}).replica_failure == message


def test_a_refusal_that_is_over_is_forgotten() -> None:
    failure = {"type": "ReplicaFailure", "status": "False", "reason": "FailedCreate", "message": "exceeded quota"}
    assert deployment({"conditions": [failure]}).replica_failure is None


def pod_body(**status: Any) -> dict[str, Any]:
    metadata = {
        "namespace": "shop",
        "name": "ml-1",
        "uid": "p1",
        "labels": {"celeriac.dev/pool": "ml"},
        "creationTimestamp": "2026-03-01T10:00:00Z",
    }
    return {"metadata": metadata, "status": {"phase": "Running", **status}}


def test_a_ready_pod_belongs_to_the_pool_of_its_label() -> None:
    container = {"name": "worker", "ready": True, "restartCount": 1, "state": {"running": {}}}
    body = pod_body(conditions=[{"type": "Ready", "status": "True"}], containerStatuses=[container])
    record = PodRecord.from_body(body)
    assert record.key == PoolKey("shop", "ml")
    assert (record.uid, record.name, record.terminating, record.problem) == ("p1", "ml-1", False, None)


AT_TEN = 1772359200.0  # 2026-03-01T10:00:00Z
ENDED = {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-03-01T10:05:00Z"}


def worker(**status: Any) -> dict[str, Any]:
    return {"name": "worker", "restartCount": 0, "state": {}, **status}


def test_what_scaling_and_restoring_ask_of_a_pod_is_in_its_record() -> None:
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-03-01T10:00:20Z"}
    sidecar = {"name": "proxy", "restartCount": 7, "state": {"running": {}}}
    body = pod_body(conditions=[ready], containerStatuses=[sidecar, worker(state={"running": {}}, restartCount=1)])
    body["metadata"] |= {"ownerReferences": [{"kind": "ReplicaSet", "name": "ml-7", "uid": "rs7", "controller": True}]}
    body["spec"] = {"nodeName": "node-3"}
    record = PodRecord.from_body(body)
    assert (record.node, record.phase, record.replica_set, record.restarts) == ("node-3", "Running", "rs7", 1)
    assert (record.created, record.ready) == (AT_TEN, True)
    assert (record.running, record.finished_at, record.exit_reason, record.evicted) == (True, None, None, False)


def test_a_pod_that_nobody_has_seen_yet_is_pending_and_nowhere() -> None:
    body = pod_body()
    del body["status"]
    record = PodRecord.from_body(body)
    assert (record.phase, record.node, record.ready) == ("Pending", None, False)
    assert (record.running, record.all_terminated, record.replica_set) == (False, False, None)


def test_a_pod_that_is_no_longer_ready_has_no_time_since_when_it_is() -> None:
    unready = {"type": "Ready", "status": "False", "lastTransitionTime": "2026-03-01T10:00:20Z"}
    record = PodRecord.from_body(pod_body(conditions=[unready]))
    assert record.ready is False


@pytest.mark.parametrize(
    ("container", "running"),
    [
        (worker(state={"terminated": ENDED}), False),
        (worker(state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState={"terminated": ENDED}), False),
        (worker(state={"running": {}}, lastState={"terminated": ENDED}, restartCount=1), True),
    ],
    ids=["just ended", "backing off", "started anew"],
)
def test_the_last_end_of_a_worker_is_known_whatever_came_after(container: dict[str, Any], running: bool) -> None:
    record = PodRecord.from_body(pod_body(containerStatuses=[container]))
    assert (record.running, record.finished_at, record.exit_reason) == (running, AT_TEN + 300, "OOMKilled")


def test_an_end_of_which_nobody_knows_the_time_is_not_dated() -> None:
    lost = {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None, "finishedAt": None}
    record = PodRecord.from_body(pod_body(containerStatuses=[worker(state={"terminated": lost})]))
    assert (record.finished_at, record.exit_reason, record.running) == (None, "ContainerStatusUnknown", False)


def ended_pod(phase: str, *, proxy: dict[str, Any]) -> PodRecord:
    """A Pod whose worker has ended, with a native sidecar in this state."""
    containers = [worker(state={"terminated": ENDED})]
    return PodRecord.from_body(
        pod_body(phase=phase, containerStatuses=containers, initContainerStatuses=[{"name": "proxy", "state": proxy}])
    )


def test_a_pod_has_ended_when_all_its_containers_have_and_none_comes_again() -> None:
    assert ended_pod("Failed", proxy={"terminated": ENDED}).all_terminated
    assert not ended_pod("Failed", proxy={"running": {}}).all_terminated
    assert not ended_pod("Running", proxy={"terminated": ENDED}).all_terminated


def test_a_final_phase_alone_proves_no_end() -> None:
    """The garbage collector of Pods gives it to those of a node that is out of reach."""
    lost = pod_body(phase="Failed", containerStatuses=[worker(state={"running": {}})])
    assert not PodRecord.from_body(lost).all_terminated


@pytest.mark.parametrize(
    "status",
    [
        {"phase": "Failed", "reason": "Evicted"},
        {"phase": "Failed", "reason": "NodeShutdown"},
        {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]},
    ],
    ids=["pressure on the node", "the node shuts down", "kubectl drain"],
)
def test_an_end_by_the_clusters_will_is_told_from_a_workers_own(status: dict[str, Any]) -> None:
    assert PodRecord.from_body(pod_body(**status)).evicted
    assert not PodRecord.from_body(pod_body(phase="Failed", reason="DeadlineExceeded")).evicted


def test_the_mark_of_a_pod_that_is_to_end_is_read_with_its_cost() -> None:
    body = pod_body()
    cost = "controller.kubernetes.io/pod-deletion-cost"
    body["metadata"]["annotations"] = {"celeriac.dev/drain": "f00d", cost: "-1000", "celeriac.dev/broker": "{}"}
    record = PodRecord.from_body(body)
    assert (record.drain_token, record.deletion_cost, record.broker) == ("f00d", -1000, "{}")


@pytest.mark.parametrize(
    ("text", "cost"),
    [("5", 5), ("-2147483648", -(2**31)), ("2147483648", 0), ("+5", 0), ("05", 0), ("1_0", 0), ("", 0), ("low", 0)],
)
def test_a_cost_is_read_as_the_replicaset_controller_reads_it(text: str, cost: int) -> None:
    body = pod_body()
    body["metadata"]["annotations"] = {"controller.kubernetes.io/pod-deletion-cost": text}
    assert PodRecord.from_body(body).deletion_cost == cost


def test_a_pod_still_pulling_its_image_is_no_problem() -> None:
    container = {"name": "worker", "restartCount": 0, "state": {"waiting": {"reason": "ContainerCreating"}}}
    assert PodRecord.from_body(pod_body(phase="Pending", containerStatuses=[container])).problem is None


def test_a_pod_that_its_node_is_still_setting_up_is_told_from_one_that_has_ended() -> None:
    """The kubelet takes the condition back when the sandbox is gone."""
    unset = [{"type": "PodReadyToStartContainers", "status": "False"}]
    assert PodRecord.from_body(pod_body(phase="Pending", conditions=unset)).setting_up
    assert not PodRecord.from_body(pod_body(phase="Failed", conditions=unset)).setting_up
    assert not PodRecord.from_body(pod_body(phase="Pending")).setting_up


def test_a_pod_without_our_label_belongs_to_no_pool() -> None:
    body = pod_body()
    del body["metadata"]["labels"]
    assert PodRecord.from_body(body).key == PoolKey("shop", "")


def test_the_agent_that_a_pod_or_a_template_mounts_is_known_by_the_volume() -> None:
    volumes = [
        {"name": "celeriac-run", "emptyDir": {}},
        {"name": "of-the-user", "configMap": {"name": "settings"}},
        {"name": "celeriac-agent", "configMap": {"name": "celeriac-agent-1"}},
    ]
    metadata = {"namespace": "team", "name": "ml", "uid": "u"}
    assert PodRecord.from_body({"metadata": metadata, "spec": {"volumes": volumes}}).agent == "celeriac-agent-1"
    assert PodRecord.from_body({"metadata": metadata, "spec": {"volumes": volumes[:2]}}).agent is None
    template = {"template": {"spec": {"volumes": volumes}}}
    assert DeploymentRecord.from_body({"metadata": metadata, "spec": template}).agent == "celeriac-agent-1"


def test_annotations_and_finalizers_that_are_longer_than_any_of_ours_are_not_kept() -> None:
    long = "x" * 250_000
    annotations = {"celeriac.dev/broker": long, "celeriac.dev/drain": long}
    metadata = {
        "namespace": "shop",
        "name": "ml-1",
        "uid": "u",
        "annotations": annotations,
        "finalizers": ["a.b/c"] * 99,
    }
    record = PodRecord.from_body({"metadata": metadata})
    assert record.broker is not None
    assert record.drain_token is not None
    assert (len(record.broker), len(record.drain_token), len(record.finalizers)) == (16_384, 512, 16)
