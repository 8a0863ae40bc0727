"""Deployments and Pods, reduced at the edge to what the operator reads of them.

A Pod's body is 5 to 10 kB of JSON; its record some hundred bytes. Nothing behind this module sees a raw body.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from celeriac.api.keys import PoolKey
from celeriac.api.names import (
    AGENT_VOLUME,
    BROKER_ANNOTATION,
    DELETION_COST_ANNOTATION,
    DRAIN_ANNOTATION,
    POOL_LABEL,
    REVISION_ANNOTATION,
    SECRET_ANNOTATION,
    WORKER_CONTAINER,
)
from celeriac.cluster.body import Body
from celeriac.cluster.client import MANAGER, SCALE_MANAGER
from celeriac.cluster.problems import FINAL_PHASES, Problem, problem_of
from celeriac.cluster.room import is_full_quota, lacks_room
from celeriac.cluster.text import bounded

_KUBELET_EVICTIONS: Final = frozenset({"Evicted", "NodeShutdown", "Terminated", "Preempting"})
"""Reasons of a whole Pod's end that is the node's doing (pkg/kubelet/eviction, nodeshutdown, preemption)."""
REFUSAL_LENGTH: Final = 1024  # characters: Pod security names each container and field
LONGEST_REFERENCE: Final = 16_384  # characters: what `broker_reference` makes of a spec is shorter
LONGEST_TOKEN: Final = 512  # characters: a mark may hold the name of a process
MOST_FINALIZERS: Final = 16
"""Whoever may make Pods may write annotations of 256 KiB into each: what is longer than any of ours is cut, and is then
nobody's broker, and no mark of ours."""
_INT32: Final = 2**31


@dataclass(frozen=True, slots=True)
class DeploymentRecord:
    """One Deployment. The counts are those of its status, in Pods that are not Terminating.

    controller_uid   uid of the owner that controls it, None where nobody does
    replica_failure  why its Pods are refused (quota, pod security), in the API server's words
    full_quota       whether that is a quota that has room once other Pods are gone
    revision         of its template, as its ReplicaSets carry it; empty before the controller has seen it
    secret_digest    of the broker's Secrets for which its template was made, None without
    agent            name of the ConfigMap with the agent that its Pods mount, None without
    paused           whether somebody has stopped its rollouts (kubectl rollout pause)
    scaled_by        who else than the operator wrote the replicas last, and when (Unix seconds); None if nobody did
    fingerprint      changes with whatever an apply of the manifest could put right; not with the replicas
    replicas_as_created  whether the manager of the children still owns the replicas: nobody has scaled it yet
    resource_version of the body that says all of this; empty where there is none
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
    full_quota: bool = False
    revision: str = ""
    secret_digest: str | None = None
    agent: str | None = None
    paused: bool = False
    scaled_by: tuple[str, float] | None = None
    fingerprint: str = ""
    replicas_as_created: bool = False
    resource_version: str = ""

    @classmethod
    def from_body(cls, body: Body) -> Self:
        """Reduce a body of apps/v1. Absent counts are zero (omitempty), but spec.replicas, which defaults to 1."""
        metadata, status = body["metadata"], body.get("status") or {}
        conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
        failure = conditions.get("ReplicaFailure", {})
        failed = failure.get("status") == "True"
        template = body["spec"].get("template") or {}
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
            replica_failure=bounded(failure.get("message", ""), REFUSAL_LENGTH) if failed else None,
            full_quota=failed and is_full_quota(failure.get("message", "")),
            revision=(metadata.get("annotations") or {}).get(REVISION_ANNOTATION, ""),
            secret_digest=(template.get("metadata", {}).get("annotations") or {}).get(SECRET_ANNOTATION),
            agent=_agent(template.get("spec") or {}),
            paused=bool(body["spec"].get("paused")),
            scaled_by=_scaled_by(metadata),
            fingerprint=_fingerprint(body),
            replicas_as_created=_replicas_as_created(metadata),
            resource_version=metadata.get("resourceVersion", ""),
        )

    @property
    def rollout_in_progress(self) -> bool:
        """Whether more than one ReplicaSet has, or may soon have, replicas: the controller then scales proportionally.

        Pods of the current template that are not ready yet are no rollout: so looks every scale-up. The counts are
        those that the ReplicaSets last told of; `PodRecord.replica_set` shows what they have not told yet.
        """
        return self.observed_generation < self.generation or self.updated != self.replicas


def _scaled_by(metadata: Body) -> tuple[str, float] | None:
    """The manager of spec.replicas that is not the operator, where there is one."""
    for entry in _owners_of_replicas(metadata):
        if entry.get("manager") not in (MANAGER, SCALE_MANAGER):
            return entry.get("manager", ""), _unix_time(entry.get("time")) or 0.0
    return None


def _replicas_as_created(metadata: Body) -> bool:
    owners = _owners_of_replicas(metadata)
    return any((entry.get("manager"), entry.get("operation")) == (MANAGER, "Apply") for entry in owners)


def _owners_of_replicas(metadata: Body) -> list[Body]:
    """The entries of managedFields that claim spec.replicas."""
    entries = metadata.get("managedFields") or ()
    return [entry for entry in entries if "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})]


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
    """One Pod of a pool. Times are Unix seconds, of the clock of whoever wrote them; the API keeps whole seconds.

    key            its pool's, by label; the name is empty where the Pod has no such label
    problem        what keeps it from running, None while nothing does
    node           where it is assigned to, None before
    phase          Pending, Running, Succeeded, Failed or Unknown
    created        when the API server made it
    restarts       of the worker's container
    replica_set    uid of the ReplicaSet that controls it
    broker         where its broker is, as `celeriac.pool.broker.parse_broker_reference` reads it; None without agent
    agent          name of the ConfigMap with the agent that it mounts, None without
    unplaced       whether no node has room for it, and fewer other Pods would give it some
    setting_up     whether its node has it, but not yet all of its volumes and its network (Kubernetes 1.29 tells)
    drain_token    the mark of a Pod that is to end, None without one
    deletion_cost  0 where there is none or it is no number, as the ReplicaSet controller reads it
    evicted        its end is the cluster's will: eviction, preemption, a node that shuts down or is gone
    running        whether the worker's container runs
    started        whether that container's startup probe has succeeded: its worker consumes, or did
    running_since  when it started, by its node's clock; None where it does not run or nobody knows
    finished_at    when that container last ended, by its node's clock; None if it never did or nobody knows when
    last_end       tells this end from those before; None where there was none
    exit_reason    how it then ended: OOMKilled, Error, Completed...
    all_terminated whether every container has ended, sidecars included, and none is started anew
    grace_seconds  how long it may take to end, once it is deleted
    finalizers     by whom its removal is held up; the first of them
    """

    key: PoolKey
    uid: str
    name: str
    terminating: bool
    problem: Problem | None
    node: str | None = None
    phase: str = "Pending"
    ready: bool = False
    created: float = 0.0
    restarts: int = 0
    replica_set: str | None = None
    broker: str | None = None
    agent: str | None = None
    unplaced: bool = False
    setting_up: bool = False
    drain_token: str | None = None
    deletion_cost: int = 0
    evicted: bool = False
    running: bool = False
    started: bool = False
    running_since: float | None = None
    finished_at: float | None = None
    last_end: str | None = None
    exit_reason: str | None = None
    all_terminated: bool = False
    grace_seconds: float = 0.0
    finalizers: tuple[str, ...] = ()

    @property
    def is_counted(self) -> bool:
        """Whether a ReplicaSet counts it (controller.IsPodActive); somebody else's Pod may bear the label, too."""
        return self.replica_set is not None and not self.terminating and self.phase not in FINAL_PHASES

    @classmethod
    def from_body(cls, body: Body) -> Self:
        """Reduce a body of v1."""
        metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
        annotations = metadata.get("annotations") or {}
        worker = _worker(status)
        state = worker.get("state") or {}
        ended = state.get("terminated") or (worker.get("lastState") or {}).get("terminated") or {}
        return cls(
            key=PoolKey(metadata["namespace"], (metadata.get("labels") or {}).get(POOL_LABEL, "")),
            uid=metadata["uid"],
            name=metadata["name"],
            terminating=metadata.get("deletionTimestamp") is not None,
            problem=problem_of(status),
            node=spec.get("nodeName") or None,
            phase=status.get("phase") or "Pending",
            ready=bool(_condition(status, "Ready")),
            created=_unix_time(metadata.get("creationTimestamp")) or 0.0,
            restarts=worker.get("restartCount", 0),
            replica_set=(controller_of(body) or {}).get("uid"),
            broker=annotations.get(BROKER_ANNOTATION, "")[:LONGEST_REFERENCE] or None,
            agent=_agent(spec),
            unplaced=lacks_room(status),
            setting_up=_setting_up(status),
            drain_token=annotations.get(DRAIN_ANNOTATION, "")[:LONGEST_TOKEN] or None,
            deletion_cost=_deletion_cost(annotations.get(DELETION_COST_ANNOTATION, "")),
            evicted=status.get("reason") in _KUBELET_EVICTIONS or bool(_condition(status, "DisruptionTarget")),
            running="running" in state,
            started=bool(worker.get("started")),
            running_since=_unix_time((state.get("running") or {}).get("startedAt")),
            finished_at=_unix_time(ended.get("finishedAt")),
            last_end=ended.get("containerID") or ended.get("finishedAt") or None,
            exit_reason=ended.get("reason") or None,
            all_terminated=_all_terminated(status),
            grace_seconds=metadata.get("deletionGracePeriodSeconds") or 0.0,
            finalizers=tuple((metadata.get("finalizers") or ())[:MOST_FINALIZERS]),
        )


def _setting_up(status: Body) -> bool:
    """Whether the kubelet has not made the Pod's sandbox; before a node is chosen there is no such condition."""
    return status.get("phase") == "Pending" and bool(_condition(status, "PodReadyToStartContainers", "False"))


def _condition(status: Body, kind: str, says: str = "True") -> Body:
    """The condition of this type if it says so, else nothing."""
    found = (each for each in status.get("conditions") or () if each["type"] == kind and each["status"] == says)
    return next(found, {})


def _agent(spec: Body) -> str | None:
    """The ConfigMap of the volume that `celeriac.resources.agent` gives to a Pod."""
    volumes = (each for each in spec.get("volumes") or () if each.get("name") == AGENT_VOLUME)
    return next((each["configMap"].get("name") for each in volumes if each.get("configMap")), None)


def _worker(status: Body) -> Body:
    """The status of the worker's container; empty before the kubelet has seen the Pod."""
    return next((each for each in status.get("containerStatuses") or () if each["name"] == WORKER_CONTAINER), {})


def _deletion_cost(text: str) -> int:
    """Read the annotation as the ReplicaSet controller does (GetDeletionCostFromPodAnnotations): an int32, else 0.

    Its form is strict there: no leading zero, no plus sign.
    """
    try:
        cost = int(text)
    except ValueError:
        return 0
    return cost if str(cost) == text and -_INT32 <= cost < _INT32 else 0


def _all_terminated(status: Body) -> bool:
    """Whether every container has ended for good.

    In no other phase: the kubelet would start them anew. But a final phase alone proves nothing, as it is also given to
    Pods whose node is out of reach.
    """
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    ended = bool(containers) and all("terminated" in (each.get("state") or {}) for each in containers)
    return ended and status.get("phase") in FINAL_PHASES


def _unix_time(text: str | None) -> float | None:
    """A time of the API (RFC 3339 with a Z) in Unix seconds; None for none."""
    return datetime.fromisoformat(text).timestamp() if text else None
