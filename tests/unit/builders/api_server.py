"""An API server in memory: objects by kind, namespace and name, and errors where a test wants some."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from celeriac.api.keys import PoolKey
from celeriac.cluster.client import SecretText
from celeriac.cluster.errors import ApiError, Conflict, NotFound, SecretKeyMissing
from celeriac.cluster.paths import CELERY_WORKER_POOLS, DEPLOYMENTS, Resource

Body = dict[str, Any]
Name = tuple[str, str, str]
"""The plural, the namespace and the name of an object."""


class ApiServer:
    """Answers as `celeriac.cluster.client.Api` does. `asked` has each request as verb, plural and name.

    `secrets` has the texts of Secrets by namespace, name and key. `refusals` has what is answered instead, by the verb
    and namespace/name; by the namespace for a list.
    """

    def __init__(self) -> None:
        self.objects: dict[Name, Body] = {}
        self.refusals: dict[tuple[str, str], ApiError] = {}
        self.secrets: dict[Name, str] = {}
        self.asked: list[Name] = []
        self._made: defaultdict[Name, asyncio.Event] = defaultdict(asyncio.Event)
        self._uids = itertools.count(1)

    def has(self, resource: Resource, namespace: str) -> set[str]:
        """The names of what is there."""
        return {name for plural, place, name in self.objects if (plural, place) == (resource.plural, namespace)}

    def put(self, resource: Resource, body: Mapping[str, Any]) -> Body:
        """Let an object be there."""
        metadata = {"uid": f"uid-{next(self._uids)}", "labels": {}, **body["metadata"]}
        key = (resource.plural, metadata["namespace"], metadata["name"])
        self.objects[key] = {**body, "metadata": metadata}
        self._made[key].set()
        return self.objects[key]

    async def made(self, resource: Resource, namespace: str, name: str) -> None:
        """Wait until the object is there."""
        await self._made[resource.plural, namespace, name].wait()

    async def read(self, resource: Resource, namespace: str, name: str) -> Body:
        return self._get("get", resource, namespace, name)

    async def read_metadata(self, resource: Resource, namespace: str, name: str) -> Body:
        return self._get("get", resource, namespace, name)

    async def read_deployment(self, key: PoolKey) -> Body:
        return self._get("get", DEPLOYMENTS, *key)

    async def read_secret_key(self, namespace: str, name: str, key: str) -> SecretText:
        if (namespace, name, key) not in self.secrets:
            raise SecretKeyMissing(namespace, name, key, secret_exists=False)
        return SecretText(self.secrets[namespace, name, key], "uid-of-the-secret")

    async def list_metadata(self, resource: Resource, namespace: str | None, label: str) -> list[Body]:
        self._ask("list", resource, namespace or "")
        return [
            body
            for (plural, place, _), body in self.objects.items()
            if plural == resource.plural
            and namespace in (None, place)
            and (not label or label in body["metadata"]["labels"])
        ]

    async def any_carries(self, resource: Resource, namespace: str, label_selector: str) -> bool:
        name, _, value = label_selector.partition("=")
        listed = await self.list_metadata(resource, namespace, name)
        return any(body["metadata"]["labels"][name] == value for body in listed)

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Body:
        self._ask("create", resource, namespace, body["metadata"]["name"])
        return self.put(resource, body)

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> None:
        self._get("delete", resource, namespace, name)
        del self.objects[resource.plural, namespace, name]

    async def apply(self, resource: Resource, manifest: Mapping[str, Any], *, manager: str, force: bool = True) -> Body:
        metadata = manifest["metadata"]
        self._ask("apply", resource, metadata["namespace"], metadata["name"])
        current = self.objects.get((resource.plural, metadata["namespace"], metadata["name"]), {})
        if current and "resourceVersion" in metadata:  # none of ours names one that is
            raise Conflict(409, "Conflict", "the object has been modified")
        merged = {part: {**current.get(part, {}), **manifest[part]} for part in ("metadata", "spec")}
        return self.put(resource, {**current, **manifest, **merged})

    async def apply_pool_status(self, key: PoolKey, uid: str, status: Mapping[str, Any]) -> None:
        self._get("status", CELERY_WORKER_POOLS, *key)["status"] = dict(status)

    def _ask(self, verb: str, resource: Resource, namespace: str, name: str = "") -> None:
        self.asked.append((verb, resource.plural, name))
        refusal = self.refusals.get((verb, f"{namespace}/{name}" if name else namespace))
        if refusal is not None:
            raise refusal

    def _get(self, verb: str, resource: Resource, namespace: str, name: str) -> Body:
        self._ask(verb, resource, namespace, name)
        try:
            return self.objects[resource.plural, namespace, name]
        except KeyError:
            raise NotFound(404, "NotFound", f"{resource.plural} {name} not found") from None
