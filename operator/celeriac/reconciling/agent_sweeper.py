"""Removes ConfigMaps with agents that nobody uses any more: the last pool is gone, or runs another version."""

import asyncio
import logging
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from celeriac.api.authority import Authority
from celeriac.cluster.agent_config import AgentConfigs, AgentName, AgentRecord
from celeriac.cluster.records import DeploymentRecord, PodRecord
from celeriac.pool.model import WorkerPool
from celeriac.watching.setbacks import Setbacks
from celeriac.watching.store import KnownPool, Store

log = logging.getLogger(__name__)

LISTS_AGAIN: Final = 30
"""Looks after which everything is listed again: another process, or a person, may have left some."""


def used(
    pools: Iterable[KnownPool], deployments: Iterable[DeploymentRecord], pods: Iterable[PodRecord], current: str
) -> set[AgentName]:
    """Which ConfigMaps have a user: what Pods and templates mount, and what the pools' next templates will.

    `current` is the name of this operator's agent.
    """
    mounting: list[DeploymentRecord | PodRecord] = [*deployments, *pods]
    wanted = {
        AgentName(known.key.namespace, current)
        for known in pools
        if not known.deleting and not (isinstance(known.spec, WorkerPool) and not known.spec.agent)
    }
    return wanted | {AgentName(each.key.namespace, each.agent) for each in mounting if each.agent is not None}


class Sweep:
    """Which ConfigMaps are without a user for the second look in a row: one that was just made has none yet."""

    def __init__(self) -> None:
        self._idle: frozenset[AgentRecord] = frozenset()
        self._in_use: Collection[AgentName] | None = None
        self._looks = 0

    def must_list(self, in_use: Collection[AgentName]) -> bool:
        """Whether there may be something to remove: then all ConfigMaps are to be listed for a `step`.

        At first, where one has lost its users since the last look, and now and then, since others may leave some.
        """
        before, self._in_use = self._in_use, in_use
        self._looks += 1
        lost = before is None or any(name not in in_use for name in before)
        return lost or bool(self._idle) or self._looks % LISTS_AGAIN == 0

    def step(self, listed: Collection[AgentRecord], in_use: Collection[AgentName]) -> list[AgentRecord]:
        """Take over one look; returns those that are to be removed."""
        idle = frozenset(record for record in listed if record.key not in in_use)
        removed = idle & self._idle
        self._idle = idle - removed
        return sorted(removed, key=lambda record: record.key)


class AgentSweeper:
    """Sweeps now and then while it has the authority and has seen all Pods."""

    def __init__(
        self,
        configs: AgentConfigs,
        current: str,
        store: Store,
        authority: Authority,
        namespaces: Sequence[str],
        *,
        sees_all: bool = True,
    ) -> None:
        """`current` is the name of this operator's agent; no `namespaces`: the whole cluster is served.

        `sees_all`: no pool there is another operator's.
        """
        self._sees_all = sees_all
        self._configs = configs
        self._current = current
        self._store = store
        self._authority = authority
        self._namespaces: Sequence[str | None] = namespaces or (None,)
        self._sweeps = {namespace: Sweep() for namespace in self._namespaces}
        self._setbacks = {namespace: Setbacks(_stay(namespace)) for namespace in self._namespaces}

    async def run(self, seconds: float) -> None:
        """Look for ever, every `seconds`."""
        while True:
            await asyncio.sleep(seconds)
            await self.look()

    async def look(self) -> None:
        """Sweep each namespace; what cannot be read or removed keeps nobody from the others.

        After a failure the sweep begins anew: what it had found must not wait for the next list that comes by itself.
        """
        if not self._authority.may_judge_pods:
            self._sweeps = {namespace: Sweep() for namespace in self._namespaces}
            return
        for namespace in self._namespaces:
            try:
                await self._sweep(namespace)
            except Exception as error:
                self._sweeps[namespace] = Sweep()
                self._setbacks[namespace].note(error, time.monotonic())

    async def _sweep(self, namespace: str | None) -> None:
        sweep, in_use = self._sweeps[namespace], self._used_in(namespace)
        if not sweep.must_list(in_use):
            return
        failure: Exception | None = None
        for record in sweep.step(await self._configs.listed(namespace), in_use):
            try:
                await self._remove(record)
            except Exception as error:
                failure = error
        if failure is not None:
            raise failure

    async def _remove(self, record: AgentRecord) -> None:
        """Remove it unless somebody has come for it since the look."""
        if not self._authority.may_judge_pods or record.key in self._used_in(record.key.namespace):
            return
        pools = None if self._sees_all else {known.uid for known in self._store.pools.values()}
        if await self._configs.remove(record, pools):
            log.info("ConfigMap %s/%s is removed: no Pod uses the agent in it any more", *record.key)

    def _used_in(self, namespace: str | None) -> set[AgentName]:
        store = self._store
        names = used(store.pools.values(), store.deployments.values(), store.all_pods(), self._current)
        return names if namespace is None else {name for name in names if name.namespace == namespace}


def _stay(namespace: str | None) -> str:
    return f"agents that nobody uses stay in {f'namespace {namespace}' if namespace else 'the cluster'} for now"
