"""Whom fewer other Pods would help, in the words of the scheduler and of quotas (Kubernetes 1.34)."""

from typing import Any

import pytest

from celeriac.cluster.records import DeploymentRecord, PodRecord

pytestmark = pytest.mark.unit

NO_VICTIMS = "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
NOT_HELPFUL = "preemption: 0/{n} nodes are available: {n} Preemption is not helpful for scheduling."

OTHERS_ARE_IN_THE_WAY = [
    f"0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, {NO_VICTIMS}",
    f"0/1 nodes are available: 1 Insufficient nvidia.com/gpu. {NO_VICTIMS}",
    f"0/1 nodes are available: 1 Too many pods. {NO_VICTIMS}",
    f"0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. {NO_VICTIMS}",
    f"0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules. {NO_VICTIMS}",
    f"0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints. {NO_VICTIMS}",
    f"0/1 nodes are available: 1 node(s) exceed max volume count. {NO_VICTIMS}",
    "0/3 nodes are available: 1 Insufficient memory, 2 node(s) didn't match Pod's node affinity/selector. preemption:"
    " 0/3 nodes are available: 1 No preemption victims found for incoming pod, 2 Preemption is not helpful for"
    " scheduling.",
    "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never.",
    "0/12 nodes are available: 12 Insufficient cpu.",
]
NOBODY_IS = [
    f"0/1 nodes are available: 1 Insufficient cpu. {NOT_HELPFUL.format(n=1)}",
    f"0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. {NOT_HELPFUL.format(n=2)}",
    f"0/1 nodes are available: 1 node(s) had untolerated taint {{gpu: }}. {NOT_HELPFUL.format(n=1)}",
    "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
    'persistentvolumeclaim "models" not found',
    "",
]


def pod(message: str, reason: str = "Unschedulable") -> PodRecord:
    condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    metadata = {"namespace": "shop", "name": "ml-abc", "uid": "u1"}
    return PodRecord.from_body({"metadata": metadata, "status": {"phase": "Pending", "conditions": [condition]}})


@pytest.mark.parametrize("message", OTHERS_ARE_IN_THE_WAY)
def test_a_node_that_others_have_filled_is_a_lack_of_room(message: str) -> None:
    assert pod(message).unplaced


@pytest.mark.parametrize("message", NOBODY_IS)
def test_a_pod_that_even_an_empty_node_would_not_take_is_helped_by_nobody(message: str) -> None:
    assert not pod(message).unplaced


def test_a_pod_that_is_kept_from_the_scheduler_waits_for_something_else() -> None:
    assert not pod("0/1 nodes are available: 1 Insufficient cpu.", reason="SchedulingGated").unplaced


def deployment(message: str) -> DeploymentRecord:
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    metadata: dict[str, Any] = {"namespace": "shop", "name": "ml", "uid": "u2"}
    return DeploymentRecord.from_body({"metadata": metadata, "spec": {}, "status": {"conditions": [failure]}})


FORBIDDEN = 'pods "ml-7f-x" is forbidden: '


@pytest.mark.parametrize(
    "message",
    [
        "exceeded quota: full, requested: pods=1, used: pods=3, limited: pods=3",
        "exceeded quota: full, requested: limits.cpu=700m,pods=1, used: limits.cpu=1400m,pods=3,"
        " limited: limits.cpu=2,pods=3",
        "exceeded quota: gpus, requested: requests.nvidia.com/gpu=1, used: requests.nvidia.com/gpu=4,"
        " limited: requests.nvidia.com/gpu=4",
        "exceeded quota: ram, requested: requests.memory=1Gi, used: requests.memory=3Gi, limited: requests.memory=4G",
    ],
)
def test_a_quota_that_others_have_filled_is_a_lack_of_room(message: str) -> None:
    assert deployment(FORBIDDEN + message).full_quota


@pytest.mark.parametrize(
    "message",
    [
        "exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0",
        "exceeded quota: small, requested: requests.cpu=3, used: requests.cpu=0, limited: requests.cpu=2500m",
        "exceeded quota: ram, requested: limits.memory=5Gi, used: limits.memory=1Gi, limited: limits.memory=5G",
        "failed quota: strict: must specify limits.cpu for: worker",
        'violates PodSecurity "restricted:latest": runAsNonRoot != true',
        'error looking up service account shop/robot: serviceaccount "robot" not found',
    ],
)
def test_a_pod_that_no_quota_or_rule_would_admit_alone_is_helped_by_nobody(message: str) -> None:
    assert not deployment(FORBIDDEN + message).full_quota
