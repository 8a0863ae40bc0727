"""Deployments and Pods, reduced at the edge to what the operator reads of them.

A Pod's body is 5 to 10 kB of JSON; its record some hundred bytes. Nothing behind this module sees a raw body.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from celeriac.cluster.problems import Problem, problem_of
from celeriac.cluster.text import bounded
from celeriac.names import POOL_LABEL
from celeriac.pool.model import PoolKey

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DeploymentRecord:
    """One Deployment. The counts are those of its status, in Pods that are not Terminating.

    controller_uid   uid of the owner that controls it, None where nobody does
    replica_failure  why its Pods are refused (quota, pod security), in the API server's words
    fingerprint      changes with whatever an apply of the manifest could put right; not with the replicas
    """

    key: PoolKey
    uid: str
    generation: int
    observed_generation: int
    spec_replicas: int
    replicas: int
    ready: int
    updated: int
    controller_uid: str | None = None
    replica_failure: str | None = None
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
            controller_uid=(controller_of(body) or {}).get("uid"),
            replica_failure=bounded(failure.get("message", "")) if failed else None,
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

    key      its pool's, by label; the name is empty where the Pod has no such label
    problem  what keeps it from running, None while nothing does
    """

    key: PoolKey
    uid: str
    name: str
    terminating: bool
    problem: Problem | None

    @classmethod
    def from_body(cls, body: Body) -> Self:
        """Reduce a body of v1."""
        metadata, status = body["metadata"], body.get("status") or {}
        return cls(
            key=PoolKey(metadata["namespace"], (metadata.get("labels") or {}).get(POOL_LABEL, "")),
            uid=metadata["uid"],
            name=metadata["name"],
            terminating=metadata.get("deletionTimestamp") is not None,
            problem=problem_of(status),
        )
