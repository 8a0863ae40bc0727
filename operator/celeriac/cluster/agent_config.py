"""The ConfigMaps with the agent: one for each version of it in a namespace, shared by all pools there.

They never change: another agent is another ConfigMap (`celeriac.resources.agent`). They have no owner, since the last
of many users is nobody's child; `celeriac.reconciling.agent_sweeper` removes them.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, NamedTuple

from celeriac.api.names import AGENT_LABEL, GROUP, KIND, POOL_LABEL
from celeriac.cluster.body import Body
from celeriac.cluster.client import Api
from celeriac.cluster.errors import Conflict, NameTaken, NotFound
from celeriac.cluster.paths import CONFIG_MAPS
from celeriac.cluster.records import controller_of

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


class AgentConfigs:
    """Makes and removes them. Each is 80 KB, so it is read whole once, and trusted while its uid stays the same."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._verified: dict[AgentName, str] = {}

    async def ensure(self, manifest: Body, *, look: bool = False) -> None:
        """Create the ConfigMap unless it is there; to be called before its name is in a pod template.

        One that was verified before is trusted without a request, unless `look`. Raises NameTaken where something else
        has the name, Conflict where somebody was faster: try again.
        """
        key = AgentName.of(manifest)
        if key in self._verified and not look:
            return
        try:
            metadata = await self._api.read_metadata(CONFIG_MAPS, *key)
        except NotFound:
            self._verified[key] = (await self._api.create(CONFIG_MAPS, key.namespace, manifest))["metadata"]["uid"]
            return
        if self._verified.get(key) != metadata["metadata"]["uid"]:
            current = await self._api.read(CONFIG_MAPS, *key)
            _check(current, manifest)
            self._verified[key] = current["metadata"]["uid"]

    async def listed(self, namespace: str | None) -> list[AgentRecord]:
        """All that are certainly ours, those of earlier releases too; None: of the whole cluster."""
        shared = await self._api.list_metadata(CONFIG_MAPS, namespace, AGENT_LABEL)
        of_pools = await self._api.list_metadata(CONFIG_MAPS, namespace, POOL_LABEL)
        bodies = [*shared, *(body for body in of_pools if _is_of_one_pool(body))]
        return [AgentRecord(AgentName.of(body), body["metadata"]["uid"]) for body in bodies]

    async def remove(self, record: AgentRecord) -> None:
        """Delete this very one; one that is gone, or was made anew, is left as it is."""
        self._verified.pop(record.key, None)
        with suppress(NotFound, Conflict):
            await self._api.delete(CONFIG_MAPS, *record.key, uid=record.uid)


def _check(current: Body, manifest: Body) -> None:
    """Raise NameTaken unless it is the manifest's."""
    if current.get("data") == manifest["data"] and current.get("immutable"):
        return
    namespace, name = AgentName.of(manifest)
    message = f"ConfigMap {namespace}/{name} does not hold the operator's agent; delete it, and it is made anew"
    raise NameTaken(HTTPStatus.CONFLICT, "NameTaken", message)


def _is_of_one_pool(body: Body) -> bool:
    """Whether release 0.1 made it: by its name, its label, and the pool that owns it."""
    metadata, owner = body["metadata"], controller_of(body) or {}
    match = _OF_ONE_POOL.fullmatch(metadata["name"])
    labels: Mapping[str, str] = metadata.get("labels") or {}
    group = str(owner.get("apiVersion", "")).partition("/")[0]
    ours = (group, owner.get("kind"), owner.get("name")) == (GROUP, KIND, labels.get(POOL_LABEL))
    return ours and match is not None and match[1] == labels.get(POOL_LABEL)
