"""The questions and the writes of the operator: what it asks of which kind."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from celeriac.api.keys import PoolKey
from celeriac.cluster.connection import JSON_PATCH
from celeriac.cluster.errors import Conflict, Invalid, NotFound, SecretKeyMissing
from celeriac.cluster.paths import (
    CELERY_POOL_REQUESTS,
    CELERY_WORKER_POOLS,
    DEPLOYMENTS,
    NODES,
    PODS,
    SECRETS,
    Resource,
)
from celeriac.cluster.verbs import Verbs, conflict_if_replaced, label

MANAGER: Final = "celeriac"
"""Field manager of the children: everything of a Deployment but its replicas."""
SCALE_MANAGER: Final = "celeriac-scale"
"""Field manager of a Deployment's replicas."""
STATUS_MANAGER: Final = "celeriac-status"
"""Field manager of a CeleryWorkerPool's status."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The /scale of a Deployment: spec.replicas, and the version that a change of it must name."""

    replicas: int
    resource_version: str


@dataclass(frozen=True, slots=True)
class SecretText:
    """The text under one key of a Secret, and the uid of the Secret. Neither is shown."""

    text: str = field(repr=False)
    uid: str = field(repr=False)


class Api(Verbs):
    """What the operator asks of one Kubernetes API server. Every method raises ApiError."""

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
        await self._replace_status(CELERY_WORKER_POOLS, key, uid, status, manager)

    async def apply_request_status(self, key: PoolKey, uid: str, status: Mapping[str, Any]) -> None:
        """Make `status` the status of a CeleryPoolRequest; `key` is its own. NotFound or Conflict where it is gone."""
        await self._replace_status(CELERY_POOL_REQUESTS, key, uid, status, STATUS_MANAGER)

    async def release_pool(self, key: PoolKey, uid: str, operator: str, *, manager: str = STATUS_MANAGER) -> None:
        """Take this operator's name out of the status of a pool. Conflict where it is not, or no longer, there."""
        patch: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "test", "path": "/status/operator", "value": operator},
            {"op": "remove", "path": "/status/operator"},
        ]
        try:
            await self._patch_status(CELERY_WORKER_POOLS, key, patch, manager)
        except Invalid as error:
            message = f"CeleryWorkerPool {key} is not this operator's"
            raise Conflict(HTTPStatus.CONFLICT, "Conflict", message) from error

    async def _replace_status(
        self, resource: Resource, key: PoolKey, uid: str, status: Mapping[str, Any], manager: str
    ) -> None:
        patch: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "add", "path": "/status", "value": status},
        ]
        try:
            await self._patch_status(resource, key, patch, manager)
        except Invalid as error:
            if error.fields:
                raise
            message = f"{resource.plural} {key} is no longer the one of uid {uid}"
            raise Conflict(HTTPStatus.CONFLICT, "Conflict", message) from error

    async def _patch_status(
        self, resource: Resource, key: PoolKey, patch: Sequence[Mapping[str, Any]], manager: str
    ) -> None:
        """A JSON patch of the status of a pool or a request; Invalid where one of its tests fails."""
        await self.connection.request(
            "patch",
            label(resource, "status"),
            resource.path(key.namespace, key.name, "status"),
            query={"fieldManager": manager},
            body=patch,
            content_type=JSON_PATCH,
        )

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
            raise conflict_if_replaced(error) from error

    def hosts(self) -> frozenset[str]:
        """By which the API server is reached from here; asks nothing."""
        return self.connection.hosts()

    async def advertised_hosts(self) -> frozenset[str]:
        """Where the API server says that it is. Every user may ask this who may look at what its API is."""
        versions = await self.connection.request("get", "api", "/api")
        places = versions.get("serverAddressByClientCIDRs") or ()
        named = (urlsplit(f"//{place.get('serverAddress', '')}").hostname for place in places)
        return frozenset(host for host in named if host)

    async def read_node(self, name: str) -> dict[str, Any]:
        """A Node. NotFound where it was removed; Forbidden where the operator's role is bound to namespaces."""
        return await self.read(NODES, None, name)

    async def read_secret_key(self, namespace: str, name: str, key: str) -> SecretText:
        """The text under one key of a Secret. Raises SecretKeyMissing; Invalid where it is no UTF-8."""
        try:
            secret = await self.read(SECRETS, namespace, name)
        except NotFound as error:
            raise SecretKeyMissing(namespace, name, key, secret_exists=False) from error
        encoded = (secret.get("data") or {}).get(key)
        if encoded is None:
            raise SecretKeyMissing(namespace, name, key, secret_exists=True)
        try:
            text = base64.b64decode(encoded, validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            message = f"key {key!r} of Secret {namespace}/{name} is not UTF-8 text; store the plain text in it"
            raise Invalid(HTTPStatus.UNPROCESSABLE_ENTITY, "SecretNotText", message) from None
        return SecretText(text, secret["metadata"]["uid"])


def _scale(body: Mapping[str, Any]) -> Scale:
    """Reduce an autoscaling/v1 Scale; an absent spec.replicas is 0 (omitempty)."""
    return Scale(body["spec"].get("replicas", 0), body["metadata"]["resourceVersion"])
