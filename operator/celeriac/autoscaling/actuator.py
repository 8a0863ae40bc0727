"""Carries out what a tick wants of a pool, in the background: one write of the replicas and one marking at a time.

Of all pools so many are scaled at once; the others wait, the neediest first.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import NamedTuple

from celeriac.api.authority import Authority
from celeriac.api.keys import PoolKey
from celeriac.api.notices import Notice, Teller
from celeriac.api.reasons import Reason
from celeriac.autoscaling.drain_marker import DrainMarker, Marking
from celeriac.autoscaling.pool_scaler import PoolScaler
from celeriac.autoscaling.rollouts import retire
from celeriac.autoscaling.scale_lane import SCALES_AT_ONCE, ScaleLane
from celeriac.autoscaling.scale_writer import Change, Refusals, ScaleWriter
from celeriac.autoscaling.sight import Step
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import AgentLink
from celeriac.cluster.client import Api
from celeriac.cluster.errors import ApiError
from celeriac.pool.model import WorkerPool
from celeriac.scaling.decision import Retirement
from celeriac.telemetry.logs import fields
from celeriac.telemetry.metrics import Direction, Metrics
from celeriac.watching.store import KnownPool, Store
from celeriac.watching.workqueue import WorkQueue

log = logging.getLogger(__name__)

MARK_AGAIN_SECONDS = 5.0
"""After a failed marking: each attempt changes Pods, and what is refused once is seldom allowed half a second later."""
RETIRE_AGAIN_SECONDS = 2.0
"""Between two changes of a rollout's ReplicaSets: what became of the first is known by then."""
CROWD = 8
"""Pools that are scaled at the same time: each status that is written meanwhile would make some of them later."""
MOVES_SECONDS = 1.0
"""Scalings of which none has ended for so long hang: by a webhook, or an API server in trouble."""


class _Wanted(NamedTuple):
    """A change, the pool that wants it, and who is told that it was made."""

    known: KnownPool
    change: Change
    scaler: PoolScaler


class Actuator:
    """Never marks a pool's Pods while its replicas go down, nor the other way round: Kubernetes could take others."""

    def __init__(
        self,
        *,
        api: Api,
        store: Store,
        metrics: Metrics,
        authority: Authority,
        queue: WorkQueue[PoolKey],
        teller: Teller,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._authority = authority
        self._writer = ScaleWriter(api, authority, store.deployments.get)
        self._marker = DrainMarker(api, authority)
        self._store = store
        self._metrics = metrics
        self._queue = queue
        self._teller = teller
        self._clock = clock
        self.refusals = Refusals()
        self._lane: ScaleLane[_Wanted] = ScaleLane()
        self._scaling: dict[PoolKey, asyncio.Task[None]] = {}
        self._moved_at = clock()
        self._removing: set[PoolKey] = set()
        self._marking: dict[PoolKey, asyncio.Task[None]] = {}
        self._mark_again_at: dict[PoolKey, float] = {}
        self._retire_again_at: dict[PoolKey, float] = {}

    def carry_out(
        self, known: KnownPool, pool: WorkerPool, step: Step, scaler: PoolScaler, link: AgentLink | None
    ) -> None:
        """Begin what the step wants, or let it wait. What is under way, or pauses, a later tick wants again."""
        key, change = known.key, step.change
        removes = step.retire is not None or (change is not None and change.pods < 0)
        waits_for_marks = removes and key in self._marking
        if change is None or waits_for_marks or not self._may_scale(key):
            self._drop(key)
        else:
            self._want(_Wanted(known, change, scaler))
        if waits_for_marks:
            return
        if change is None and step.outcome is not None and step.retire is None and self.refusals.forget(key):
            self._queue.add(key)
        if step.retire is not None and change is None:
            self._retire(key, *step.retire)
        if link is None or not step.marking:
            self._marks_are_well(key)
        elif key not in self._removing:
            self._mark(pool, link, step.marking)

    def is_crowded(self) -> bool:
        """Whether so many pools are being scaled that what can wait is better left. Where all hang, nothing waits."""
        return len(self._scaling) >= CROWD and self._clock() - self._moved_at < MOVES_SECONDS

    def forget(self, key: PoolKey) -> None:
        """Forget a pool that is scaled no more."""
        self._drop(key)
        self.refusals.forget(key)
        self.refusals.forget_mark(key)
        self._mark_again_at.pop(key, None)
        self._retire_again_at.pop(key, None)

    def is_busy_with(self, key: PoolKey) -> bool:
        """Whether a write for the pool is under way."""
        return key in self._scaling or key in self._marking

    def carries(self, key: PoolKey) -> bool:
        """Whether a change of the pool's replicas waits, or is under way."""
        return key in self._lane or key in self._scaling

    async def settle(self) -> None:
        """Begin nothing more, and wait for what is under way."""
        self._lane.clear()
        await asyncio.gather(*self._scaling.values(), *self._marking.values(), return_exceptions=True)

    def _may_scale(self, key: PoolKey) -> bool:
        return key not in self._scaling and not self.refusals.pauses(key, self._clock())

    def _want(self, wanted: _Wanted) -> None:
        key, change = wanted.known.key, wanted.change
        self._lane.want(key, change, wanted)
        (self._removing.add if change.pods < 0 else self._removing.discard)(key)
        asyncio.get_running_loop().call_soon(self._take_turns)  # once all pools of a reading have said what they need

    def _drop(self, key: PoolKey) -> None:
        self._lane.drop(key)
        if key not in self._scaling:
            self._removing.discard(key)

    def _take_turns(self) -> None:
        if not self._scaling:
            self._moved_at = self._clock()
        while len(self._scaling) < SCALES_AT_ONCE and (wanted := self._lane.take()) is not None:
            self._scaling[wanted.known.key] = asyncio.get_running_loop().create_task(self._write(*wanted))

    async def _write(self, known: KnownPool, change: Change, scaler: PoolScaler) -> None:
        key = known.key
        try:
            written = await self._writer.write(key, change)
            if written.replicas is not None:
                self._store.note_replicas(key, written.replicas, written.version)
            if written.performed:
                self._performed(known, change, scaler)
            elif written.refusal is not None:
                self._refused(key, change, written.refusal)
        except Exception:
            log.exception("pool %s: scaling failed by a fault of the operator", key)
        finally:
            self._over(key)

    def _retire(self, key: PoolKey, name: str, planned: Retirement) -> None:
        if not self._may_scale(key) or self._clock() < self._retire_again_at.get(key, 0.0):
            return
        self._retire_again_at[key] = self._clock() + RETIRE_AGAIN_SECONDS
        self._removing.add(key)
        self._scaling[key] = asyncio.get_running_loop().create_task(self._make_room(key, name, planned))

    async def _make_room(self, key: PoolKey, name: str, planned: Retirement) -> None:
        try:
            if await retire(self._api, self._authority, key, name, planned):
                self.refusals.forget(key)
                if planned.message:
                    log.info("pool %s: %s", key, planned.message)
                    self._teller.tell(Notice(key, "Normal", Reason.MADE_ROOM, planned.message, name, action="Rollout"))
        except ApiError as error:
            if self.refusals.note(key, error, self._clock()):
                log.warning("pool %s: old workers could not make room in a rollout: %s", key, error)
                self._queue.add(key)
        except Exception:
            log.exception("pool %s: a rollout could not be helped on, by a fault of the operator", key)
        finally:
            self._over(key)

    def _over(self, key: PoolKey) -> None:
        self._moved_at = self._clock()
        del self._scaling[key]
        self._removing.discard(key)
        self._take_turns()

    def _performed(self, known: KnownPool, change: Change, scaler: PoolScaler) -> None:
        key, up = known.key, change.pods > 0
        self.refusals.forget(key)
        scaler.scaled(change.pods, self._clock())
        log.info(
            *("pool %s: scaled from %d to %d (%s): %s", key, change.before, change.after),
            *(change.reason, change.message),
            extra=fields(pool=str(key), before=change.before, after=change.after, reason=change.reason),
        )
        if self._store.pools.get(key) is not None:
            self._metrics.scale(key, Direction.UP if up else Direction.DOWN, abs(change.pods))
        self._queue.add(key)
        reason = Reason.SCALED_UP if up else Reason.SCALED_DOWN
        # Each pair of counts is a series of its own: `kubectl describe` then shows the way that the pool has gone.
        series = f"{change.before}-{change.after}"
        self._teller.tell(Notice(key, "Normal", reason, change.message, series, action="Scale"))

    def _refused(self, key: PoolKey, change: Change, error: ApiError) -> None:
        if self.refusals.note(key, error, self._clock()):
            log.warning("pool %s: could not be scaled to %d: %s", key, change.after, error)
            self._queue.add(key)

    def _mark(self, pool: WorkerPool, link: AgentLink, marking: Marking) -> None:
        if pool.key in self._marking or self._clock() < self._mark_again_at.get(pool.key, 0.0):
            return
        self._marking[pool.key] = asyncio.get_running_loop().create_task(self._perform(pool, link, marking))

    def _marks_are_well(self, key: PoolKey) -> None:
        if self.refusals.forget_mark(key):
            self._queue.add(key)

    async def _perform(self, pool: WorkerPool, link: AgentLink, marking: Marking) -> None:
        try:
            async for body in self._marker.mark(pool, link, marking):
                self._store.note_pod(body)
            self._mark_again_at.pop(pool.key, None)
            self._marks_are_well(pool.key)
        except (ApiError, BrokerDoubt) as error:
            self._mark_again_at[pool.key] = self._clock() + MARK_AGAIN_SECONDS
            log.warning("pool %s: its workers could not be marked, it will be tried again: %s", pool.key, error)
            if isinstance(error, ApiError) and self.refusals.note_mark(pool.key, error):
                self._queue.add(pool.key)
        except Exception:
            log.exception("pool %s: marking failed by a fault of the operator", pool.key)
        finally:
            del self._marking[pool.key]
