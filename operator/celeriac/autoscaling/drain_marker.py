"""Marks the workers that `plan` has chosen to go, and takes marks away when demand returns.

A mark has two halves. The annotations of the Pod are the truth: they survive a restart of the operator, anybody sees
them, and the deletion cost among them tells the ReplicaSet controller whom to take first. The token in Redis tells the
worker. Whatever Redis says otherwise, after a crash between two writes or a restart to empty, is put right.

A mark that is missing in Redis may have been missing when its worker looked, which then went back to work; its last
report may still say that it has drained. So a mark is never given twice: each time it gets a token of its own.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from celeriac.api.authority import Authority
from celeriac.api.keys import PoolKey
from celeriac.api.names import DELETION_COST_ANNOTATION, DRAIN_ANNOTATION
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import Broker
from celeriac.cluster.errors import ApiError, Conflict, NotFound, NotHolder
from celeriac.cluster.records import PodRecord
from celeriac.pool.model import WorkerPool
from celeriac.scaling.types import MARKED_COST, RELEASED_COST
from celeriac.watching.store import Store

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
"""After a failure: each attempt changes Pods, and what is refused once is seldom allowed half a second later."""


class PodPatcher(Protocol):
    """Changes annotations of one Pod (`celeriac.cluster.client.Api`)."""

    async def patch_pod_annotations(
        self, namespace: str, name: str, uid: str, annotations: Mapping[str, str | None]
    ) -> dict[str, Any]:
        """Raises NotFound or Conflict where that very Pod is gone, or another ApiError."""


@dataclass(frozen=True, slots=True)
class Marking:
    """What is to change: Pods to mark, to unmark, to go first; and what Redis must be told, by uid (None: no mark)."""

    drain: tuple[PodRecord, ...] = ()
    undrain: tuple[PodRecord, ...] = ()
    release: tuple[PodRecord, ...] = ()
    corrections: Mapping[str, str | None] | None = None

    def __bool__(self) -> bool:
        return bool(self.drain or self.undrain or self.release or self.corrections)


def corrections(pods: Iterable[PodRecord], marks: Mapping[str, str]) -> dict[str, str | None]:
    """What Redis must be told so that its marks are those of the Pods."""
    wanted = {pod.uid: pod.drain_token for pod in pods if pod.drain_token is not None}
    missing = {uid: token for uid, token in wanted.items() if marks.get(uid) != token}
    return {**missing, **dict.fromkeys(marks.keys() - wanted.keys())}


class Drainer:
    """Performs markings in the background, one at a time for a pool, while it has the authority."""

    def __init__(
        self,
        *,
        api: PodPatcher,
        store: Store,
        authority: Authority,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._store = store
        self._authority = authority
        self._clock = clock
        self._retry_at: dict[PoolKey, float] = {}
        self._working: dict[PoolKey, asyncio.Task[None]] = {}

    def is_busy(self, key: PoolKey) -> bool:
        """Whether a marking of the pool is under way."""
        return key in self._working

    def submit(self, pool: WorkerPool, broker: Broker, marking: Marking) -> None:
        """Begin a marking, unless one is under way or has just failed: a later tick looks again."""
        pauses = self._clock() < self._retry_at.get(pool.key, 0.0)
        if marking and pool.key not in self._working and not pauses:
            self._working[pool.key] = asyncio.get_running_loop().create_task(self._perform(pool, broker, marking))

    async def settle(self) -> None:
        """Wait for the markings under way."""
        await asyncio.gather(*self._working.values(), return_exceptions=True)

    async def _perform(self, pool: WorkerPool, broker: Broker, marking: Marking) -> None:
        superfluous = [uid for uid, token in (marking.corrections or {}).items() if token is None]
        told: dict[str, str | None] = dict.fromkeys(superfluous)
        try:
            for pod in marking.undrain:
                if await self._annotate(pod, {DRAIN_ANNOTATION: None, DELETION_COST_ANNOTATION: None}):
                    told[pod.uid] = None
            for pod in self._to_mark(marking):
                token = secrets.token_hex(8)
                mark = {DRAIN_ANNOTATION: token, DELETION_COST_ANNOTATION: str(MARKED_COST)}
                if await self._annotate(pod, mark):
                    told[pod.uid] = token
            for pod in marking.release:
                await self._annotate(pod, {DELETION_COST_ANNOTATION: str(RELEASED_COST)})
            if told and self._authority.may_act:
                await broker.agents.mark(pool.broker.layout, pool.uid, told)
            self._retry_at.pop(pool.key, None)
        except (ApiError, BrokerDoubt) as error:
            self._retry_at[pool.key] = self._clock() + RETRY_SECONDS
            log.warning("pool %s: its workers could not be marked, it will be tried again: %s", pool.key, error)
        except Exception:
            log.exception("pool %s: marking failed by a fault of the operator", pool.key)
        finally:
            del self._working[pool.key]

    def _to_mark(self, marking: Marking) -> Iterable[PodRecord]:
        """The new victims, and the Pods whose mark Redis lost."""
        pods = {pod.uid: pod for pod in marking.drain}
        for uid, token in (marking.corrections or {}).items():
            pod = self._store.pod(uid)
            if token is not None and pod is not None:
                pods.setdefault(uid, pod)
        unmarked = {pod.uid for pod in marking.undrain}
        return [pod for uid, pod in pods.items() if uid not in unmarked]

    async def _annotate(self, pod: PodRecord, annotations: Mapping[str, str | None]) -> bool:
        """Change a Pod's annotations; False where the Pod is gone or somebody else leads."""
        if not self._authority.may_act:
            return False
        try:
            body = await self._api.patch_pod_annotations(pod.key.namespace, pod.name, pod.uid, annotations)
        except (NotFound, Conflict, NotHolder):
            return False
        self._store.note_pod(body)
        return True
