"""Raw bodies of the API server become small records."""

from typing import Any

import pytest

from celeriac.cluster.records import DeploymentRecord, PodRecord
from celeriac.pool.model import PoolKey

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


def test_a_pod_still_pulling_its_image_is_no_problem() -> None:
    container = {"name": "worker", "restartCount": 0, "state": {"waiting": {"reason": "ContainerCreating"}}}
    assert PodRecord.from_body(pod_body(phase="Pending", containerStatuses=[container])).problem is None


def test_a_pod_without_our_label_belongs_to_no_pool() -> None:
    body = pod_body()
    del body["metadata"]["labels"]
    assert PodRecord.from_body(body).key == PoolKey("shop", "")
