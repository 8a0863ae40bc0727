"""Marks the workers that `plan` has chosen to go, and takes marks away when demand returns.

A mark has two halves. The annotations of the Pod are the truth: they survive a restart of the operator, anybody sees
them, and the deletion cost among them tells the ReplicaSet controller whom to take first. The token in Redis tells the
worker. Whatever Redis says otherwise, after a crash between two writes or a restart to empty, is put right.

A mark that is missing in Redis may have been missing when its worker looked, which then went back to work; its last
report may still say that it has drained. So a mark is never given twice: each time it gets a token of its own.

A worker whose Pod is deleted and that goes on has not got SIGTERM; its mark says so, and its agent stops it. So does
the mark of one that is to be started anew. It names the start of the worker that is meant: the next one finds it, too.
"""

import secrets
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from celeriac.api.authority import Authority
from celeriac.api.names import DELETION_COST_ANNOTATION, DRAIN_ANNOTATION
from celeriac.brokers.agents import STOP, STOP_ONE
from celeriac.brokers.protocol import AgentLink
from celeriac.cluster.errors import Conflict, NotFound, NotHolder
from celeriac.cluster.records import PodRecord
from celeriac.pool.model import WorkerPool
from celeriac.scaling.workload import MARKED_COST, RELEASED_COST
from celeriac.workers.worker import restarting


class PodPatcher(Protocol):
    """Changes annotations of one Pod (`celeriac.cluster.client.Api`)."""

    async def patch_pod_annotations(
        self, namespace: str, name: str, uid: str, annotations: Mapping[str, str | None]
    ) -> dict[str, Any]:
        """Raises NotFound or Conflict where that very Pod is gone, or another ApiError."""


@dataclass(frozen=True, slots=True)
class Marking:
    """What is to change of a pool's Pods.

    drain        to be marked: they shall take nothing new, and go
    undrain      to be unmarked: they shall work again
    release      marked ones that hold nothing any more: to go before those that still drain
    remark       marked ones whose mark the broker has lost: they get a new one
    superfluous  uids that the broker has a mark of, and no Pod
    stop         deleted ones whose workers have not got SIGTERM: their new mark tells them
    restart      whose workers are to be started anew, each with the start of the worker that is to stop
    """

    drain: tuple[PodRecord, ...] = ()
    undrain: tuple[PodRecord, ...] = ()
    release: tuple[PodRecord, ...] = ()
    remark: tuple[PodRecord, ...] = ()
    superfluous: tuple[str, ...] = ()
    stop: tuple[PodRecord, ...] = ()
    restart: tuple[tuple[PodRecord, str], ...] = ()

    def __bool__(self) -> bool:
        return self != NO_MARKING

    @property
    def to_mark(self) -> list[PodRecord]:
        """The new victims, and those that need a new mark; nobody twice, and nobody who is to be unmarked."""
        pods = {pod.uid: pod for pod in (*self.drain, *self.remark, *self.stop, *(pod for pod, _ in self.restart))}
        unmarked = {pod.uid for pod in self.undrain}
        return [pod for uid, pod in pods.items() if uid not in unmarked]

    def token_for(self, pod: PodRecord) -> str:
        """A new one; once a worker is told to stop, that stays so."""
        process = {each.uid: process for each, process in self.restart}.get(pod.uid) or restarting(pod)
        stops = pod in self.stop or told_to_stop(pod)
        how = STOP if stops else "" if process is None else f"{STOP_ONE}{process}-"
        return f"{how}{secrets.token_hex(8)}"


NO_MARKING = Marking()


def told_to_stop(pod: PodRecord) -> bool:
    """Whether its mark tells the worker to stop, whichever start of it that is."""
    return pod.drain_token is not None and pod.drain_token.startswith(STOP) and restarting(pod) is None


def corrected(marking: Marking, pods: Collection[PodRecord], marks: Mapping[str, str]) -> Marking:
    """The marking with what the broker must be told so that its marks (pod uid -> token) are those of the Pods."""
    wanted = {pod.uid: pod for pod in pods if pod.drain_token is not None}
    return replace(
        marking,
        remark=tuple(pod for uid, pod in wanted.items() if marks.get(uid) != pod.drain_token),
        superfluous=tuple(uid for uid in marks if uid not in wanted),
    )


class DrainMarker:
    """Carries markings out while it has the authority."""

    def __init__(self, api: PodPatcher, authority: Authority) -> None:
        self._api = api
        self._authority = authority

    async def mark(self, pool: WorkerPool, link: AgentLink, marking: Marking) -> AsyncIterator[dict[str, Any]]:
        """Carry out a marking; yields the body of each Pod that was changed, as soon as it is.

        Raises ApiError or BrokerDoubt where something failed half-way: later corrections put it right.
        """
        told: dict[str, str | None] = dict.fromkeys(marking.superfluous)
        for pod in marking.undrain:
            if body := await self._annotate(pod, {DRAIN_ANNOTATION: None, DELETION_COST_ANNOTATION: None}):
                told[pod.uid] = None
                yield body
        for pod in marking.to_mark:
            token = marking.token_for(pod)
            mark = {DRAIN_ANNOTATION: token, DELETION_COST_ANNOTATION: str(MARKED_COST)}
            if body := await self._annotate(pod, mark):
                told[pod.uid] = token
                yield body
        for pod in marking.release:
            if body := await self._annotate(pod, {DELETION_COST_ANNOTATION: str(RELEASED_COST)}):
                yield body
        if told and self._authority.may_act:
            await link.mark(pool.broker.layout, pool.uid, told)

    async def _annotate(self, pod: PodRecord, annotations: Mapping[str, str | None]) -> dict[str, Any] | None:
        """Change a Pod's annotations; None where the Pod is gone or somebody else leads."""
        if not self._authority.may_act:
            return None
        try:
            return await self._api.patch_pod_annotations(pod.key.namespace, pod.name, pod.uid, annotations)
        except (NotFound, Conflict, NotHolder):
            return None
