"""The tick: observe -> decide -> plan -> act, for all pools at once.

Each broker is read by a task of its own, in bulk for all its pools, so that a slow one delays nobody else's. What is
decided is kept as an Outcome for the status; only the change of replicas is written here.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from celeriac import reasons
from celeriac.broker_access import BrokerAccess
from celeriac.brokers.types import BrokerAddress, BrokerDoubt, PoolReading, QueueSet
from celeriac.cluster.client import Scale
from celeriac.cluster.errors import ApiError, Conflict
from celeriac.cluster.records import DeploymentRecord
from celeriac.metrics import Direction, Metrics
from celeriac.pool.model import PoolKey, WorkerPool
from celeriac.scaling.decide import decide
from celeriac.scaling.history import fresh_history, record_change
from celeriac.scaling.plan import plan
from celeriac.scaling.types import Demand, Doubt, History, Workload
from celeriac.status import Outcome, parse_timestamp, urgent_outcome
from celeriac.store import KnownPool, Store

log = logging.getLogger(__name__)


class Scaler(Protocol):
    """Reads and writes the scale of a Deployment (`celeriac.cluster.client.Api`)."""

    async def read_scale(self, key: PoolKey) -> Scale:
        """Raises ApiError."""

    async def patch_scale(self, key: PoolKey, replicas: int, *, resource_version: str) -> Scale:
        """Raises Conflict where the Deployment has changed since, or another ApiError."""


Announce = Callable[[KnownPool, int, int, str], None]
"""Tells of a performed change: the pool, replicas before and after, and the decision's sentence."""


@dataclass(frozen=True, slots=True)
class _Change:
    """A change of the replicas that was planned when they were `before`."""

    before: int
    after: int
    message: str


@dataclass(slots=True)
class _PoolState:
    """What the tick remembers of one pool.

    history      None until its Deployment is known: windows that began at zero would shrink a pool that runs
    doubt_since  the first failed reading in a row
    """

    key: PoolKey
    uid: str
    history: History | None = None
    doubt_since: float | None = None
    doubt: BrokerDoubt | None = None
    outcome: Outcome | None = None
    acting: bool = False


def demand_of(reading: PoolReading, replicas: int, slots: int) -> Demand:
    """What a pool of so many replicas, each with `slots`, has to do.

    What workers hold beyond their slots is reserved: prefetched, or scheduled tasks of one worker that fell due all at
    once. No further pod could take it, so it calls for none. Without replicas something else holds it, or nobody does.
    """
    return Demand(
        waiting=reading.waiting,
        running=min(reading.held, max(1, replicas) * slots),
        scheduled=reading.scheduled,
        exact=reading.exact,
        current_replicas=replicas,
    )


class Autoscaler:
    """Scales the pools of a Store while `may_act` holds."""

    def __init__(
        self,
        *,
        store: Store,
        access: BrokerAccess,
        scaler: Scaler,
        metrics: Metrics,
        may_act: Callable[[], bool],
        changed: Callable[[PoolKey], None],
        announce: Announce,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._access = access
        self._scaler = scaler
        self._metrics = metrics
        self._may_act = may_act
        self._changed = changed
        self._announce = announce
        self._clock = clock
        self._states: dict[PoolKey, _PoolState] = {}
        self._reading: set[BrokerAddress] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.last_tick = clock()

    def outcome(self, key: PoolKey) -> Outcome | None:
        """What the last tick found and decided for a pool."""
        state = self._states.get(key)
        return state.outcome if state else None

    def doubt(self, key: PoolKey) -> BrokerDoubt | None:
        """Why the pool's broker cannot be read, if so."""
        state = self._states.get(key)
        return state.doubt if state else None

    async def run(self, seconds: float) -> None:
        """Tick for ever, every `seconds`; a tick that takes longer is followed at once by the next."""
        while True:
            started = self._clock()
            await self.tick()
            self.last_tick = self._clock()
            self._metrics.tick(self.last_tick - started)
            await asyncio.sleep(max(0.0, seconds - (self.last_tick - started)))

    async def tick(self) -> None:
        """Start the reading of every broker that is not being read, and decide for pools that have no readable one."""
        if not self._may_act():
            self._states.clear()
            return
        pools = self._runnable()
        for key in [key for key, state in self._states.items() if key not in pools or pools[key].uid != state.uid]:
            del self._states[key]
        await self._access.retain(pools.keys(), busy=self._reading)
        groups: dict[BrokerAddress, list[WorkerPool]] = {}
        for pool in pools.values():
            address = self._access.lookup(pool)
            if isinstance(address, BrokerDoubt):
                self._decide(pool, address)
            elif address is not None:
                groups.setdefault(address, []).append(pool)
        for address, members in groups.items():
            if address not in self._reading:
                self._reading.add(address)
                self._spawn(self._read(address, members))

    async def settle(self) -> None:
        """Wait for readings and writes under way; for an orderly shutdown."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _runnable(self) -> dict[PoolKey, WorkerPool]:
        return {
            known.key: known.spec
            for known in self._store.pools.values()
            if isinstance(known.spec, WorkerPool) and not known.deleting
        }

    async def _read(self, address: BrokerAddress, pools: list[WorkerPool]) -> None:
        """Read one broker and decide for its pools."""
        started = self._clock()
        readings: list[PoolReading | BrokerDoubt]
        failure: str | None = None
        try:
            broker = self._access.broker(address)
            readings = list(await broker.read([QueueSet(pool.queues, pool.broker.layout) for pool in pools]))
        except BrokerDoubt as doubt:
            readings = [doubt] * len(pools)
            failure = doubt.reason
        finally:
            self._reading.discard(address)
        self._metrics.broker_read(address.url, self._clock() - started, reason=failure)
        for pool, reading in zip(pools, readings, strict=True):
            if isinstance(reading, BrokerDoubt) and reading.reason == reasons.BROKER_AUTHENTICATION_FAILED:
                self._access.refused(pool.key)
            self._decide(pool, reading)

    def _decide(self, pool: WorkerPool, reading: PoolReading | BrokerDoubt) -> None:
        """Decide for one pool; whatever goes wrong with it, the other pools go on."""
        known = self._store.pools.get(pool.key)
        if not self._may_act() or known is None or known.spec != pool:
            return
        try:
            self._decide_for(known, pool, reading)
        except Exception:
            log.exception("pool %s: no decision, by a fault of the operator; its replicas hold", pool.key)

    def _decide_for(self, known: KnownPool, pool: WorkerPool, reading: PoolReading | BrokerDoubt) -> None:
        """Decide, keep the outcome for the status, and act in the background."""
        now = self._clock()
        state = self._states.setdefault(pool.key, _PoolState(pool.key, pool.uid))
        self._note_doubt(state, reading, now)
        deployment = self._store.deployments.get(pool.key)
        if deployment is None or deployment.controller_uid != pool.uid:
            state.history = None
            return
        if state.history is None:
            state.history = self._first_history(known, deployment.spec_replicas, now)
        demand = self._demand(pool, state, reading, deployment.spec_replicas, now)
        decision = decide(pool.policy, demand, state.history, now)
        state.history = decision.history
        todo = plan(pool.policy, decision, demand, Workload(deployment.spec_replicas, deployment.rollout_in_progress))
        before, idle_since = state.outcome, decision.history.idle_since
        state.outcome = Outcome(
            demand=demand,
            reading=reading if isinstance(reading, PoolReading) else None,
            decision=decision,
            plan=todo,
            idle_seconds=None if idle_since is None else now - idle_since,
        )
        self._measure(pool, deployment, state.outcome)
        if urgent_outcome(before) != urgent_outcome(state.outcome):
            self._changed(pool.key)
        if todo.replicas is not None and not state.acting:
            state.acting = True
            self._spawn(self._act(known, state, _Change(demand.current_replicas, todo.replicas, todo.message)))

    def _note_doubt(self, state: _PoolState, reading: PoolReading | BrokerDoubt, now: float) -> None:
        """Remember since when the broker is in doubt, and tell when the reason is another one than before."""
        before = state.doubt.reason if state.doubt else None
        if isinstance(reading, BrokerDoubt):
            state.doubt = reading
            state.doubt_since = now if state.doubt_since is None else state.doubt_since
        else:
            state.doubt = state.doubt_since = None
        if before != (state.doubt.reason if state.doubt else None):
            self._changed(state.key)

    def _demand(
        self, pool: WorkerPool, state: _PoolState, reading: PoolReading | BrokerDoubt, replicas: int, now: float
    ) -> Demand | Doubt:
        if isinstance(reading, BrokerDoubt):
            since = now if state.doubt_since is None else state.doubt_since
            return Doubt(current_replicas=replicas, since=since, reason=reading.reason, message=str(reading))
        return demand_of(reading, replicas, pool.policy.slots)

    def _first_history(self, known: KnownPool, replicas: int, now: float) -> History:
        """Windows full of the current replicas; idleness goes on from where the status says it began."""
        idle_since = known.status.get("idleSince")
        if idle_since is None:
            return fresh_history(replicas, now)
        seconds = (datetime.now(UTC) - parse_timestamp(idle_since)).total_seconds()
        return fresh_history(replicas, now, now - max(seconds, 0.0))

    async def _act(self, known: KnownPool, state: _PoolState, change: _Change) -> None:
        """Write the replicas through /scale; where they are not what the decision assumed, the next tick decides."""
        key = known.key
        try:
            scale = await self._scaler.read_scale(key)
            if scale.replicas != change.before:
                self._store.note_replicas(key, scale.replicas)
                return
            if not self._may_act():
                return
            await self._scaler.patch_scale(key, change.after, resource_version=scale.resource_version)
        except Conflict:
            log.debug("pool %s: the Deployment changed under the scaling; the next tick decides again", key)
            return
        except ApiError as error:
            log.warning("pool %s: could not be scaled to %d: %s", key, change.after, error)
            return
        finally:
            state.acting = False
        self._store.note_replicas(key, change.after)
        pods = change.after - change.before
        if state.history is not None:
            state.history = record_change(state.history, self._clock(), pods)
        self._metrics.scale(key, Direction.UP if pods > 0 else Direction.DOWN, abs(pods))
        self._changed(key)
        self._announce(known, change.before, change.after, change.message)

    def _measure(self, pool: WorkerPool, deployment: DeploymentRecord, outcome: Outcome) -> None:
        reading = outcome.reading
        if reading is None:
            self._metrics.queues_unknown(pool.key)
        else:
            self._metrics.queues(pool.key, reading.queues)
        self._metrics.pool(
            pool.key,
            desired=outcome.decision.replicas,
            replicas=deployment.spec_replicas,
            ready=deployment.ready,
            slots=deployment.spec_replicas * pool.policy.slots,
            running=reading.held if reading else None,
        )
        self._metrics.decision(pool.key, outcome.reason)

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a tick failed", exc_info=task.exception())
