"""Writes the replicas that the tick has planned, each through /scale, one write at a time for a pool."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from celeriac.api.authority import Authority
from celeriac.api.keys import PoolKey
from celeriac.cluster.client import Scale
from celeriac.cluster.errors import ApiError, Conflict, NotHolder
from celeriac.cluster.records import DeploymentRecord
from celeriac.telemetry.metrics import Direction, Metrics
from celeriac.watching.store import KnownPool, Store

log = logging.getLogger(__name__)

BACKOFF_FIRST_SECONDS = 1.0
BACKOFF_LAST_SECONDS = 60.0


class Scaler(Protocol):
    """Reads and writes the scale of a Deployment (`celeriac.cluster.client.Api`)."""

    async def read_scale(self, key: PoolKey) -> Scale:
        """Raises ApiError."""

    async def read_deployment(self, key: PoolKey) -> Mapping[str, Any]:
        """Raises ApiError."""

    async def patch_scale(self, key: PoolKey, replicas: int, *, resource_version: str) -> Scale:
        """Raises Conflict where the Deployment has changed since, or another ApiError."""


Announce = Callable[[KnownPool, int, int, str], None]
"""Tells of a performed change: the pool, replicas before and after, and the sentence of the plan."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the replicas that was planned when they were `before`."""

    before: int
    after: int
    message: str


@dataclass(slots=True)
class _Refusal:
    """Why the last write failed, and when the next may be tried (monotonic seconds)."""

    message: str
    pause: float
    retry_at: float


class ScaleWriter:
    """Performs changes in the background while it has the authority."""

    def __init__(
        self,
        *,
        scaler: Scaler,
        store: Store,
        metrics: Metrics,
        authority: Authority,
        changed: Callable[[PoolKey], None],
        announce: Announce,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scaler = scaler
        self._store = store
        self._metrics = metrics
        self._authority = authority
        self._changed = changed
        self._announce = announce
        self._clock = clock
        self._writing: dict[PoolKey, asyncio.Task[None]] = {}
        self._removing: set[PoolKey] = set()
        self._refusals: dict[PoolKey, _Refusal] = {}

    def refusal(self, key: PoolKey) -> str | None:
        """Why the pool's replicas could not be written, as long as they cannot."""
        refusal = self._refusals.get(key)
        return refusal.message if refusal else None

    def forget(self, key: PoolKey) -> None:
        """Forget a pool that is scaled no more."""
        self._refusals.pop(key, None)

    def is_removing(self, key: PoolKey) -> bool:
        """Whether replicas of the pool are being taken away at this moment."""
        return key in self._removing

    def submit(self, known: KnownPool, change: Change, done: Callable[[int], None]) -> None:
        """Begin the change, unless one is under way or a refused one pauses; `done` gets the pods of its success."""
        refusal = self._refusals.get(known.key)
        if known.key in self._writing or (refusal is not None and self._clock() < refusal.retry_at):
            return
        if change.after < change.before:
            self._removing.add(known.key)
        self._writing[known.key] = asyncio.get_running_loop().create_task(self._perform(known, change, done))

    async def settle(self) -> None:
        """Wait for the writes under way."""
        await asyncio.gather(*self._writing.values(), return_exceptions=True)

    async def _perform(self, known: KnownPool, change: Change, done: Callable[[int], None]) -> None:
        try:
            if await self._write(known.key, change):
                self._performed(known, change, done)
        except (Conflict, NotHolder) as error:
            log.debug("pool %s: not scaled, the next tick decides again: %s", known.key, error)
        except ApiError as error:
            self._refused(known.key, change, error)
        except Exception:
            log.exception("pool %s: scaling failed by a fault of the operator", known.key)
        finally:
            del self._writing[known.key]
            self._removing.discard(known.key)

    async def _write(self, key: PoolKey, change: Change) -> bool:
        """Write the replicas; where they are not what the plan assumed, nothing, and the next tick decides."""
        removal = change.after < change.before
        scale = await (self._read_settled(key) if removal else self._scaler.read_scale(key))
        if scale is None:
            return False
        if scale.replicas != change.before:
            self._store.note_replicas(key, scale.replicas)
            return False
        if not self._authority.may_act:
            return False
        await self._scaler.patch_scale(key, change.after, resource_version=scale.resource_version)
        return True

    async def _read_settled(self, key: PoolKey) -> Scale | None:
        """The scale, with the assurance that no rollout has begun since the plan; None where one has."""
        body = await self._scaler.read_deployment(key)
        deployment = DeploymentRecord.from_body(body)
        if deployment.rollout_in_progress:
            return None
        return Scale(deployment.spec_replicas, body["metadata"]["resourceVersion"])

    def _performed(self, known: KnownPool, change: Change, done: Callable[[int], None]) -> None:
        key, pods = known.key, change.after - change.before
        self._refusals.pop(key, None)
        self._store.note_replicas(key, change.after)
        done(pods)
        if self._store.pools.get(key) is not None:
            self._metrics.scale(key, Direction.UP if pods > 0 else Direction.DOWN, abs(pods))
        self._changed(key)
        self._announce(known, change.before, change.after, change.message)

    def _refused(self, key: PoolKey, change: Change, error: ApiError) -> None:
        last = self._refusals.get(key)
        pause = min(last.pause * 2, BACKOFF_LAST_SECONDS) if last else BACKOFF_FIRST_SECONDS
        self._refusals[key] = _Refusal(str(error), pause, self._clock() + pause)
        if last is None or last.message != str(error):
            log.warning("pool %s: could not be scaled to %d: %s", key, change.after, error)
            self._changed(key)
