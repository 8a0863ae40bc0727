"""The ReplicaSets of a Deployment: which Pods are of its present template, and how a rollout is helped on.

Each has the Pods of one template. They are read only during a rollout, and never watched.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

from celeriac.api.keys import PoolKey
from celeriac.api.names import POOL_LABEL, REVISION_ANNOTATION
from celeriac.cluster.body import Body
from celeriac.cluster.client import SCALE_MANAGER
from celeriac.cluster.paths import REPLICA_SETS, Resource
from celeriac.cluster.records import controller_of

_SCALE: Final = "scale"


@dataclass(frozen=True, slots=True)
class ReplicaSetRecord:
    """One ReplicaSet.

    deployment  uid of the Deployment that controls it
    revision    equals that of the Deployment where it has the present template
    replicas    of its spec
    existing    Pods that are not Terminating, as it last told
    settled     whether that is of its present spec
    """

    uid: str
    name: str
    deployment: str | None
    revision: str
    replicas: int
    existing: int
    settled: bool
    resource_version: str

    @classmethod
    def from_body(cls, body: Body) -> Self:
        """Reduce a body of apps/v1."""
        metadata, status = body["metadata"], body.get("status") or {}
        return cls(
            uid=metadata["uid"],
            name=metadata["name"],
            deployment=(controller_of(body) or {}).get("uid"),
            revision=(metadata.get("annotations") or {}).get(REVISION_ANNOTATION, ""),
            replicas=body["spec"].get("replicas", 1),
            existing=status.get("replicas", 0),
            settled=status.get("observedGeneration", 0) >= metadata.get("generation", 0),
            resource_version=metadata["resourceVersion"],
        )


class ReplicaSetApi(Protocol):
    """What is asked of the API server (`celeriac.cluster.client.Api`)."""

    async def list_all(self, resource: Resource, namespace: str | None, label_selector: str) -> list[dict[str, Any]]:
        """Raises ApiError."""

    async def read(self, resource: Resource, namespace: str | None, name: str) -> dict[str, Any]:
        """Raises ApiError."""

    async def merge_patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Mapping[str, Any],
        *,
        manager: str,
        subresource: str,
    ) -> dict[str, Any]:
        """Raises ApiError."""


async def list_replica_sets(api: ReplicaSetApi, key: PoolKey, deployment: str) -> dict[str, ReplicaSetRecord]:
    """The ReplicaSets of a pool's Deployment, which has this uid, by their own. Raises ApiError."""
    bodies = await api.list_all(REPLICA_SETS, key.namespace, f"{POOL_LABEL}={key.name}")
    records = map(ReplicaSetRecord.from_body, bodies)
    return {record.uid: record for record in records if record.deployment == deployment}


async def read_replica_set(api: ReplicaSetApi, namespace: str, name: str) -> ReplicaSetRecord:
    """One ReplicaSet as it is now. Raises ApiError."""
    return ReplicaSetRecord.from_body(await api.read(REPLICA_SETS, namespace, name))


async def scale_replica_set(api: ReplicaSetApi, namespace: str, record: ReplicaSetRecord, replicas: int) -> None:
    """Set its replicas; raises Conflict where it has changed since it was read, or another ApiError."""
    body = {"metadata": {"resourceVersion": record.resource_version}, "spec": {"replicas": replicas}}
    await api.merge_patch(REPLICA_SETS, namespace, record.name, body, manager=SCALE_MANAGER, subresource=_SCALE)
