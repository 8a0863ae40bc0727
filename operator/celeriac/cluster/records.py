"""Deployments and Pods, reduced at the edge to what the operator reads of them.

A Pod's body is 5 to 10 kB of JSON; its record some hundred bytes. Nothing behind this module sees a raw body.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from celeriac.cluster.problems import START_ERRORS, Problem, problem_of
from celeriac.cluster.text import bounded
from celeriac.names import POOL_LABEL
from celeriac.pool.model import PoolKey

_EPOCH: Final = datetime.fromtimestamp(0, UTC)

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DeploymentRecord:
    """One Deployment. The counts are those of its status, in Pods that are not Terminating.

    controller_uid         uid of the owner that controls it, None where nobody does
    replica_failure        why its Pods are refused (quota, pod security), in the API server's words
    replica_failure_reason the condition's reason (FailedCreate)
    progressing_reason     reason of the condition Progressing (NewReplicaSetAvailable, ProgressDeadlineExceeded, ...)
    fingerprint            changes with whatever an apply of the manifest could put right; not with the replicas
    """

    key: PoolKey
    uid: str
    generation: int
    observed_generation: int
    spec_replicas: int
    replicas: int
    ready: int
    updated: int
    available: int
    unavailable: int
    controller_uid: str | None = None
    replica_failure: str | None = None
    replica_failure_reason: str | None = None
    progressing_reason: str | None = None
    fingerprint: str = ""

    @classmethod
    def from_body(cls, body: Body) -> Self:
        """Reduce a body of apps/v1. Absent counts are zero (omitempty), but spec.replicas, which defaults to 1."""
        metadata, status = body["metadata"], body.get("status") or {}
        conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
        failure = conditions.get("ReplicaFailure", {})
        failed = failure.get("status") == "True"
        return cls(
            key=PoolKey(metadata["namespace"], metadata["name"]),
            uid=metadata["uid"],
            generation=metadata.get("generation", 0),
            observed_generation=status.get("observedGeneration", 0),
            spec_replicas=body["spec"].get("replicas", 1),
            replicas=status.get("replicas", 0),
            ready=status.get("readyReplicas", 0),
            updated=status.get("updatedReplicas", 0),
            available=status.get("availableReplicas", 0),
            unavailable=status.get("unavailableReplicas", 0),
            controller_uid=(controller_of(body) or {}).get("uid"),
            replica_failure=bounded(failure.get("message", "")) if failed else None,
            replica_failure_reason=failure.get("reason") if failed else None,
            progressing_reason=conditions.get("Progressing", {}).get("reason"),
            fingerprint=_fingerprint(body),
        )

    @property
    def rollout_in_progress(self) -> bool:
        """Whether more than one ReplicaSet has, or may soon have, replicas: the controller then scales proportionally.

        Pods of the current template that are not ready yet are no rollout: so looks every scale-up.
        """
        return self.observed_generation < self.generation or self.updated != self.replicas


def _fingerprint(body: Body) -> str:
    """Digest of the spec without replicas, the labels and the owners. Annotations are the Deployment controller's."""
    metadata = body["metadata"]
    spec = {name: value for name, value in body["spec"].items() if name != "replicas"}
    parts = [spec, metadata.get("labels"), metadata.get("ownerReferences")]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def controller_of(body: Body) -> Body | None:
    """The reference to the owner that controls an object (metav1.GetControllerOf); there is one at most."""
    owners = body["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), None)


@dataclass(frozen=True, slots=True)
class PodRecord:
    """One Pod of a pool.

    key            its pool's, by label; the name is empty where the Pod has no such label
    created        by the API server's clock: for order among Pods only
    never_started  no worker process has ever run in it, as far as the kubelet has reported: it holds no task
    node           None until it is scheduled
    restarts       of the worker and of its sidecars together
    problem        what keeps it from running, None while nothing does
    """

    key: PoolKey
    uid: str
    name: str
    created: datetime
    phase: str
    ready: bool
    terminating: bool
    never_started: bool
    node: str | None
    restarts: int
    problem: Problem | None

    @classmethod
    def from_body(cls, body: Body) -> Self:
        """Reduce a body of v1."""
        metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
        containers = status.get("containerStatuses") or ()
        conditions = {condition["type"]: condition.get("status") for condition in status.get("conditions") or ()}
        created = metadata.get("creationTimestamp")
        return cls(
            key=PoolKey(metadata["namespace"], (metadata.get("labels") or {}).get(POOL_LABEL, "")),
            uid=metadata["uid"],
            name=metadata["name"],
            created=datetime.fromisoformat(created) if created else _EPOCH,
            phase=status.get("phase", "Pending"),
            ready=conditions.get("Ready") == "True",
            terminating=metadata.get("deletionTimestamp") is not None,
            never_started=not any(_has_run(container) for container in containers),
            node=spec.get("nodeName"),
            restarts=sum(c.get("restartCount", 0) for c in (*containers, *(status.get("initContainerStatuses") or ()))),
            problem=problem_of(status),
        )


def _has_run(container: Body) -> bool:
    """Whether a process of this container has ever been executed.

    Of its earlier runs the kubelet keeps the last alone; where a restart was counted and the last run is unknown, one
    has to be assumed.
    """
    state, last = container.get("state") or {}, container.get("lastState") or {}
    ends = [ended for ended in (state.get("terminated"), last.get("terminated")) if ended]
    if "running" in state or any(ended.get("reason") not in START_ERRORS for ended in ends):
        return True
    return bool(container.get("restartCount")) and not ends
