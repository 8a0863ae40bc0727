"""The questions and the writes of the operator, in Kubernetes' own dicts."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self

from celeriac.api.keys import PoolKey
from celeriac.cluster.connection import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, Connection, OnRequest
from celeriac.cluster.errors import ApiError, Conflict, Invalid, NotFound, SecretKeyMissing, Unavailable
from celeriac.cluster.paths import CELERY_WORKER_POOLS, DEPLOYMENTS, NODES, PODS, SECRETS, Resource

MANAGER: Final = "celeriac"
"""Field manager of the children: everything of a Deployment but its replicas."""
SCALE_MANAGER: Final = "celeriac-scale"
"""Field manager of a Deployment's replicas."""
STATUS_MANAGER: Final = "celeriac-status"
"""Field manager of a CeleryWorkerPool's status."""

REQUEST_TIMEOUT_SECONDS: Final = 4.0
"""Less than the Lease's duration (15 s) minus its renew deadline (10 s): what a holder sent before it lost its Lease
has ended before the next one holds it."""

_WRONG_TYPE: Final = "failed to create typed patch object"
_LIST_TIMEOUT_SECONDS: Final = 30.0
_PAGE_SIZE: Final = 500  # objects; client-go's own default for paged lists


@dataclass(frozen=True, slots=True)
class Scale:
    """The /scale of a Deployment: spec.replicas, and the version that a change of it must name."""

    replicas: int
    resource_version: str


class Api:
    """One Kubernetes API server. Every method raises ApiError, and nothing else of the network."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    @classmethod
    async def connect(
        cls,
        kubeconfig: str | None = None,
        *,
        timeout_seconds: float = REQUEST_TIMEOUT_SECONDS,
        on_request: OnRequest | None = None,
    ) -> Self:
        """Read the credentials: of `kubeconfig`, else of $KUBECONFIG, else of the Pod's service account."""
        connection = Connection(kubeconfig, timeout_seconds, on_request)
        await connection.open()
        return cls(connection)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self.connection.close()

    async def read(self, resource: Resource, namespace: str | None, name: str, subresource: str = "") -> dict[str, Any]:
        """One object, or a subresource of it; namespace None for a kind that has none."""
        return await self.connection.request(
            "get", _label(resource, subresource), resource.path(namespace, name, subresource)
        )

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object; Conflict where it exists."""
        return await self.connection.request("create", resource.plural, resource.path(namespace), body=body)

    async def replace(self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Replace an object; Conflict where `body` carries a resourceVersion that is not the current one."""
        return await self.connection.request("update", resource.plural, resource.path(namespace, name), body=body)

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> None:
        """Delete this very object; Conflict where another has taken its name, NotFound where there is none."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        await self.connection.request("delete", resource.plural, resource.path(namespace, name), body=options)

    async def merge_patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Mapping[str, Any],
        *,
        manager: str,
        subresource: str = "",
    ) -> dict[str, Any]:
        """JSON merge patch (RFC 7386) of an object or a subresource."""
        return await self.connection.request(
            "patch",
            _label(resource, subresource),
            resource.path(namespace, name, subresource),
            query={"fieldManager": manager},
            body=body,
            content_type=MERGE_PATCH,
        )

    async def apply(
        self, resource: Resource, manifest: Mapping[str, Any], *, manager: str, force: bool = True
    ) -> dict[str, Any]:
        """Server-side apply. With metadata.uid in the manifest it is a Conflict where that very object is gone.

        The API server says so in two ways: a 409 where nothing of the name exists, a 422 on metadata.uid where
        another object has taken the name; both are one thing to the caller.
        """
        metadata = manifest["metadata"]
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        try:
            return await self.connection.request(
                "apply",
                resource.plural,
                resource.path(metadata["namespace"], metadata["name"]),
                query=query,
                body=manifest,
                content_type=APPLY_PATCH,
            )
        except Invalid as error:
            raise _conflict_if_replaced(error) from error
        except Unavailable as error:
            # The API server calls a field of the wrong type or name its own internal error (seen on 1.34).
            if _WRONG_TYPE in error.message:
                raise Invalid(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", error.message) from error
            raise

    async def read_deployment(self, key: PoolKey) -> dict[str, Any]:
        """The Deployment of a pool."""
        return await self.read(DEPLOYMENTS, key.namespace, key.name)

    async def read_scale(self, key: PoolKey) -> Scale:
        """The current spec.replicas of a pool's Deployment."""
        return _scale(await self.read(DEPLOYMENTS, key.namespace, key.name, "scale"))

    async def patch_scale(
        self, key: PoolKey, replicas: int, *, resource_version: str, manager: str = SCALE_MANAGER
    ) -> Scale:
        """Set spec.replicas; Conflict where the Deployment is no longer at `resource_version`."""
        body = {"metadata": {"resourceVersion": resource_version}, "spec": {"replicas": replicas}}
        return _scale(
            await self.merge_patch(DEPLOYMENTS, key.namespace, key.name, body, manager=manager, subresource="scale")
        )

    async def apply_pool_status(
        self, key: PoolKey, uid: str, status: Mapping[str, Any], *, manager: str = STATUS_MANAGER
    ) -> None:
        """Make `status` the status of the pool. NotFound or Conflict where the pool of that uid is gone.

        A JSON patch, because its test of the uid happens in the same transaction. Server-side apply ignores the uid in
        an apply to the status of a custom resource (seen on 1.34), and a pool made anew would inherit the old figures.
        A test that fails is a 422 that names no field; a status that the schema refuses is one that does.
        """
        patch: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "add", "path": "/status", "value": status},
        ]
        try:
            await self.connection.request(
                "patch",
                _label(CELERY_WORKER_POOLS, "status"),
                CELERY_WORKER_POOLS.path(key.namespace, key.name, "status"),
                query={"fieldManager": manager},
                body=patch,
                content_type=JSON_PATCH,
            )
        except Invalid as error:
            if error.fields:
                raise
            message = f"CeleryWorkerPool {key} is no longer the one of uid {uid}"
            raise Conflict(HTTPStatus.CONFLICT, "Conflict", message) from error

    async def patch_pod_annotations(
        self, namespace: str, name: str, uid: str, annotations: Mapping[str, str | None]
    ) -> dict[str, Any]:
        """Set annotations of one Pod, None removes one; its body afterwards.

        NotFound or Conflict where the Pod of that uid is gone.
        """
        body = {"metadata": {"uid": uid, "annotations": dict(annotations)}}
        try:
            return await self.merge_patch(PODS, namespace, name, body, manager=MANAGER)
        except Invalid as error:
            raise _conflict_if_replaced(error) from error

    async def read_node(self, name: str) -> dict[str, Any]:
        """A Node. NotFound where it was removed; Forbidden where the operator's role is bound to namespaces."""
        return await self.read(NODES, None, name)

    async def read_secret_key(self, namespace: str, name: str, key: str) -> str:
        """The text under one key of a Secret. Raises SecretKeyMissing; Invalid where it is no UTF-8."""
        try:
            secret = await self.read(SECRETS, namespace, name)
        except NotFound as error:
            raise SecretKeyMissing(namespace, name, key, secret_exists=False) from error
        encoded = (secret.get("data") or {}).get(key)
        if encoded is None:
            raise SecretKeyMissing(namespace, name, key, secret_exists=True)
        try:
            return base64.b64decode(encoded, validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            message = f"key {key!r} of Secret {namespace}/{name} is not UTF-8 text; store the plain text in it"
            raise Invalid(HTTPStatus.UNPROCESSABLE_ENTITY, "SecretNotText", message) from None

    async def list_pools(self, namespace: str | None) -> list[dict[str, Any]]:
        """All CeleryWorkerPools of a namespace; None: of the cluster."""
        return await self.list_all(CELERY_WORKER_POOLS, namespace)

    async def list_deployments(self, namespace: str | None, label_selector: str) -> list[dict[str, Any]]:
        """The Deployments that carry the labels."""
        return await self.list_all(DEPLOYMENTS, namespace, label_selector)

    async def list_pods(self, namespace: str | None, label_selector: str) -> list[dict[str, Any]]:
        """The Pods that carry the labels."""
        return await self.list_all(PODS, namespace, label_selector)

    async def list_all(
        self, resource: Resource, namespace: str | None, label_selector: str = "", *, page_size: int = _PAGE_SIZE
    ) -> list[dict[str, Any]]:
        """All objects of a kind, read in pages.

        A page token expires with etcd's compaction (410 Gone, after minutes); the list is then read whole, as
        client-go does.
        """
        query = {"limit": str(page_size)}
        if label_selector:
            query["labelSelector"] = label_selector
        items: list[dict[str, Any]] = []
        while True:
            try:
                page = await self.connection.request(
                    "list",
                    resource.plural,
                    resource.path(namespace),
                    query=query,
                    timeout_seconds=_LIST_TIMEOUT_SECONDS,
                )
            except ApiError as error:
                if error.status != HTTPStatus.GONE or "continue" not in query:
                    raise
                items.clear()
                del query["continue"], query["limit"]
                continue
            items += page["items"]
            token = page["metadata"].get("continue")
            if not token:
                return items
            query["continue"] = token


def _label(resource: Resource, subresource: str) -> str:
    """How metrics and errors name a resource: deployments, deployments/scale."""
    return f"{resource.plural}/{subresource}" if subresource else resource.plural


def _conflict_if_replaced(error: Invalid) -> ApiError:
    """A Conflict where the API server complains of the uid: another object has taken the name; else the error."""
    if "metadata.uid" not in error.fields:
        return error
    return Conflict(HTTPStatus.CONFLICT, "Conflict", error.message)


def _scale(body: Mapping[str, Any]) -> Scale:
    """Reduce an autoscaling/v1 Scale; an absent spec.replicas is 0 (omitempty)."""
    return Scale(body["spec"].get("replicas", 0), body["metadata"]["resourceVersion"])
