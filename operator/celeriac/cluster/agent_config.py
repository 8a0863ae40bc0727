"""The ConfigMaps with the agent: one for each version of it in a namespace, shared by all pools there.

They never change: another agent is another ConfigMap (`celeriac.resources.agent`). They have no owner, since the last
of many users is nobody's child; `celeriac.reconciling.agent_sweeper` removes them.
"""

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, NamedTuple

from celeriac.api.digest import content_digest
from celeriac.api.names import AGENT_LABEL, AGENT_VOLUME, GROUP, KIND, POOL_LABEL
from celeriac.cluster.body import Body
from celeriac.cluster.client import Api
from celeriac.cluster.errors import Conflict, NameTaken, NotFound
from celeriac.cluster.paths import CELERY_WORKER_POOLS, CONFIG_MAPS, REPLICA_SETS
from celeriac.cluster.records import controller_of

FRESH_SECONDS: Final = 2.0
"""A look serves all who look within this time: a thousand pools of a namespace may have Pods that wait."""
_OF_ONE_POOL: Final = re.compile(r"(.+)-celeriac-agent-[0-9a-f]{8}")
"""Names up to release 0.1: each pool had ConfigMaps of its own, with its label and with it as their owner."""


class AgentName(NamedTuple):
    """Names one ConfigMap with an agent."""

    namespace: str
    name: str

    @classmethod
    def of(cls, manifest: Body) -> "AgentName":
        """The name of what a manifest describes."""
        return cls(manifest["metadata"]["namespace"], manifest["metadata"]["name"])


@dataclass(frozen=True, slots=True)
class AgentRecord:
    """One ConfigMap with an agent, as far as its removal is concerned."""

    key: AgentName
    uid: str


@dataclass(frozen=True, slots=True)
class _Seen:
    """The uid of one whose content was compared, and when it was last there (monotonic seconds)."""

    uid: str
    at: float


class AgentConfigs:
    """Makes and removes them. Each is 80 KB, so it is read whole once, and trusted while its uid stays the same."""

    def __init__(self, api: Api, *, fresh_seconds: float = FRESH_SECONDS) -> None:
        self._api = api
        self._fresh_seconds = fresh_seconds
        self._seen: dict[AgentName, _Seen] = {}
        self._locks: defaultdict[AgentName, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ensure(self, manifest: Body, *, look: bool = False) -> None:
        """Create the ConfigMap unless it is there; to be called before its name is in a pod template.

        One that was verified before is trusted without a request, unless `look`. Of many who ask at once one does.
        Raises NameTaken where something else has the name, Conflict where another process was faster: try again.
        """
        key = AgentName.of(manifest)
        async with self._locks[key]:
            seen = self._seen.get(key)
            if seen is not None and (not look or time.monotonic() < seen.at + self._fresh_seconds):
                return
            uid = await self._made_or_found(key, manifest)
            self._seen[key] = _Seen(uid, time.monotonic())

    async def _made_or_found(self, key: AgentName, manifest: Body) -> str:
        """The uid of the one that is there."""
        seen = self._seen.pop(key, None)
        try:
            metadata = (await self._api.read_metadata(CONFIG_MAPS, *key))["metadata"]
        except NotFound:
            metadata = (await self._api.create(CONFIG_MAPS, key.namespace, manifest))["metadata"]
            return str(metadata["uid"])
        if seen is None or seen.uid != metadata["uid"]:
            current = await self._api.read(CONFIG_MAPS, *key)
            _check(current, manifest)
            metadata = current["metadata"]
        return str(metadata["uid"])

    async def listed(self, namespace: str | None) -> list[AgentRecord]:
        """All that look like ours, those of earlier releases too; None: of the whole cluster."""
        shared = await self._api.list_metadata(CONFIG_MAPS, namespace, AGENT_LABEL)
        of_pools = await self._api.list_metadata(CONFIG_MAPS, namespace, POOL_LABEL)
        bodies = [body for body in shared if _is_shared(body)] + [body for body in of_pools if _is_of_one_pool(body)]
        return [AgentRecord(AgentName.of(body), body["metadata"]["uid"]) for body in bodies]

    async def remove(self, record: AgentRecord, pools: Collection[str] | None = None) -> bool:
        """Delete this very one if it is ours for certain and no ReplicaSet would mount it; whether it was deleted.

        `pools` are the uids of those that this operator knows, where others are another's: they may be about to mount
        it, so that it stays while there are any in its namespace.
        What is in it must have the digest that is in its name. One that was made anew is left, and so is one that was
        ensured for somebody meanwhile.
        """
        namespace, name = record.key
        self._seen.pop(record.key, None)
        try:
            current = await self._api.read(CONFIG_MAPS, namespace, name)
            if not _holds_what_its_name_says(current) or await self._may_come_back(record):
                return False
            if pools is not None and await self._has_others(namespace, pools):
                return False
            async with self._locks[record.key]:
                if record.key in self._seen:
                    return False
                await self._api.delete(CONFIG_MAPS, namespace, name, uid=record.uid)
        except (NotFound, Conflict):
            return False
        return True

    async def _has_others(self, namespace: str, pools: Collection[str]) -> bool:
        """Whether there is a pool that is none of these."""
        listed = await self._api.list_metadata(CELERY_WORKER_POOLS, namespace, "")
        return any(body["metadata"]["uid"] not in pools for body in listed)

    async def _may_come_back(self, record: AgentRecord) -> bool:
        """Whether a ReplicaSet would mount it: `kubectl rollout undo` starts Pods of those that are kept."""
        selector = f"{AGENT_LABEL}={_digest_in(record.key.name)}"
        return await self._api.any_carries(REPLICA_SETS, record.key.namespace, selector)


def _check(current: Body, manifest: Body) -> None:
    """Raise NameTaken unless it is the manifest's."""
    if current.get("data") == manifest["data"] and current.get("immutable"):
        return
    namespace, name = AgentName.of(manifest)
    message = f"ConfigMap {namespace}/{name} does not hold the operator's agent; delete it, and it is made anew"
    raise NameTaken(HTTPStatus.CONFLICT, "NameTaken", message)


def _is_shared(body: Body) -> bool:
    """Whether its labels and its name are those that `celeriac.resources.agent` gives."""
    metadata = body["metadata"]
    labels: Mapping[str, str] = metadata.get("labels") or {}
    managed = labels.get("app.kubernetes.io/managed-by") == "celeriac"
    return managed and metadata["name"] == f"{AGENT_VOLUME}-{labels.get(AGENT_LABEL)}"


def _holds_what_its_name_says(body: Body) -> bool:
    """Whether it has the content that it was named after; what is immutable still has it when it is deleted."""
    digest = _digest_in(body["metadata"]["name"])
    return bool(body.get("immutable")) and content_digest(body.get("data") or {}).startswith(digest)


def _digest_in(name: str) -> str:
    return name.rpartition("-")[2]


def _is_of_one_pool(body: Body) -> bool:
    """Whether release 0.1 made it: by its name, its label, and the pool that owns it."""
    metadata, owner = body["metadata"], controller_of(body) or {}
    match = _OF_ONE_POOL.fullmatch(metadata["name"])
    labels: Mapping[str, str] = metadata.get("labels") or {}
    group = str(owner.get("apiVersion", "")).partition("/")[0]
    ours = (group, owner.get("kind"), owner.get("name")) == (GROUP, KIND, labels.get(POOL_LABEL))
    return ours and match is not None and match[1] == labels.get(POOL_LABEL)
