"""The tick: observe -> decide -> plan, for all pools at once; what it plans goes to the ScaleWriter and the Drainer.

Each broker is read by a task of its own, in bulk for all its pools, so that a slow one delays nobody else's. What is
decided is kept as an Outcome for the status.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from celeriac.api.authority import Authority
from celeriac.api.keys import PoolKey
from celeriac.api.notices import Notice
from celeriac.api.reasons import Reason
from celeriac.autoscaling.demand import demand_of, demand_without_agent, queues_of, sample_of, workload_of
from celeriac.autoscaling.drain_marker import Drainer, Marking, corrections
from celeriac.autoscaling.outcome import Outcome, figures, urgent_outcome
from celeriac.autoscaling.scale_writer import Change, ScaleWriter
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import Broker
from celeriac.brokers.readings import PoolReading
from celeriac.cluster.records import DeploymentRecord
from celeriac.cluster.times import parse_timestamp
from celeriac.connecting.broker_access import BrokerAccess
from celeriac.pool.model import WorkerPool
from celeriac.scaling.decide import decide
from celeriac.scaling.history import fresh_history, record_change
from celeriac.scaling.learning import Learned, learn
from celeriac.scaling.plan import plan
from celeriac.scaling.types import Demand, Doubt, History, Plan
from celeriac.telemetry.metrics import Metrics
from celeriac.watching.store import KnownPool, Store
from celeriac.workers.custody import Custody
from celeriac.workers.observer import Observer
from celeriac.workers.trouble import trouble_of
from celeriac.workers.worker import Workers

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _PoolState:
    """What the tick remembers of one pool.

    history      None until its Deployment is known: windows that began at zero would shrink a pool that runs
    doubt_since  the first failed reading in a row
    workers      its Pods and their reports by the last reading; None without the agent
    """

    key: PoolKey
    uid: str
    history: History | None = None
    doubt_since: float | None = None
    doubt: BrokerDoubt | None = None
    outcome: Outcome | None = None
    observer: Observer = field(default_factory=Observer)
    learned: Learned = field(default_factory=Learned)
    workers: Workers | None = None


class Autoscaler:
    """Scales the pools of a Store while it has the authority."""

    def __init__(
        self,
        *,
        store: Store,
        access: BrokerAccess,
        writer: ScaleWriter,
        drainer: Drainer,
        custody: Custody,
        metrics: Metrics,
        authority: Authority,
        changed: Callable[[PoolKey], None],
        tell: Callable[[Notice], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._access = access
        self._writer = writer
        self._drainer = drainer
        self._custody = custody
        self._metrics = metrics
        self._authority = authority
        self._changed = changed
        self._tell = tell
        self._clock = clock
        self._states: dict[PoolKey, _PoolState] = {}
        self._reading: dict[BrokerAddress, asyncio.Task[None]] = {}
        self._stopped = False
        self.last_tick = clock()

    def has_read(self, known: KnownPool) -> bool:
        """Whether this very pool's broker has been tried: only then is there anything to be told of it."""
        return self._state(known) is not None

    def outcome(self, known: KnownPool) -> Outcome | None:
        """What the last tick found and decided for a pool."""
        state = self._state(known)
        return state.outcome if state else None

    def doubt(self, known: KnownPool) -> BrokerDoubt | None:
        """Why the pool's broker cannot be read, if so."""
        state = self._state(known)
        return state.doubt if state else None

    async def run(self, seconds: float) -> None:
        """Tick for ever, every `seconds`; a tick that takes longer is followed at once by the next."""
        while True:
            started = self._clock()
            try:
                self.tick()
            except Exception:
                log.exception("a tick failed by a fault of the operator; replicas hold until the next")
            self.last_tick = self._clock()
            self._metrics.tick(self.last_tick - started)
            await asyncio.sleep(max(0.0, seconds - (self.last_tick - started)))

    def tick(self) -> None:
        """Start the reading of every broker that is not being read, and decide for pools that have no readable one."""
        if not self._authority.may_judge_pods:
            self._states.clear()
            return
        pools = {
            known.key: known.spec
            for known in self._store.pools.values()
            if isinstance(known.spec, WorkerPool) and not known.deleting
        }
        self._forget_all_but(pools)
        self._access.retain(pools.keys(), busy=self._reading.keys() | self._custody.needed)
        groups: dict[BrokerAddress, list[WorkerPool]] = {}
        for pool in pools.values():
            address = self._access.lookup(pool)
            if isinstance(address, BrokerDoubt):
                self._decide(pool, address)
            elif address is not None:
                groups.setdefault(address, []).append(pool)
        for address, members in groups.items():
            if address not in self._reading:
                self._reading[address] = asyncio.get_running_loop().create_task(self._read(address, members))

    def stop(self) -> None:
        """Decide nothing more, whatever a reading under way brings."""
        self._stopped = True

    async def settle(self) -> None:
        """Wait for readings and writes under way."""
        await asyncio.gather(*self._reading.values(), return_exceptions=True)
        await self._writer.settle()
        await self._drainer.settle()

    def _state(self, known: KnownPool) -> _PoolState | None:
        state = self._states.get(known.key)
        return state if state is not None and state.uid == known.uid else None

    def _forget_all_but(self, pools: Mapping[PoolKey, WorkerPool]) -> None:
        """A pool that is gone, or invalid now, has no figures any more."""
        for key in [key for key, state in self._states.items() if key not in pools or pools[key].uid != state.uid]:
            del self._states[key]
            self._writer.forget(key)
            self._metrics.forget(key)
            self._changed(key)

    async def _read(self, address: BrokerAddress, pools: list[WorkerPool]) -> None:
        """Read one broker and decide for its pools."""
        started = self._clock()
        readings: list[PoolReading | BrokerDoubt]
        broker: Broker | None = None
        failure: str | None = None
        try:
            broker = self._access.broker(address)
            readings = list(await broker.queues.read([queues_of(pool) for pool in pools]))
        except BrokerDoubt as doubt:
            readings = [doubt] * len(pools)
            failure = doubt.reason
        except Exception as error:
            log.exception("a broker could not be read by a fault of the operator")
            fault = BrokerDoubt(Reason.BROKER_ERROR, f"a fault of the operator ({type(error).__name__}); see its log")
            readings = [fault] * len(pools)
            failure = fault.reason
        finally:
            self._reading.pop(address, None)
        self._metrics.broker_read(address.url, self._clock() - started, reason=failure)
        for pool, reading in zip(pools, readings, strict=True):
            if isinstance(reading, BrokerDoubt):
                self._access.doubted(pool.key, reading.reason)
            self._decide(pool, reading, broker)

    def _decide(self, pool: WorkerPool, reading: PoolReading | BrokerDoubt, broker: Broker | None = None) -> None:
        """Decide for one pool; whatever goes wrong with it, the other pools go on."""
        known = self._store.pools.get(pool.key)
        if self._stopped or not self._authority.may_judge_pods or known is None or known.spec != pool:
            return
        try:
            marking = self._decide_for(known, pool, reading)
            if broker is not None and not self._writer.is_removing(pool.key):
                self._drainer.submit(pool, broker, marking)
        except Exception:
            log.exception("pool %s: no decision, by a fault of the operator; its replicas hold", pool.key)

    def _decide_for(self, known: KnownPool, pool: WorkerPool, reading: PoolReading | BrokerDoubt) -> Marking:
        """Decide, keep the outcome for the status, and hand the change on; returns what is to be marked."""
        now = self._clock()
        if pool.key not in self._states:
            self._states[pool.key] = _PoolState(pool.key, pool.uid)
            self._changed(pool.key)
        state = self._states[pool.key]
        self._note_doubt(state, reading, now)
        deployment = self._store.deployments.get(pool.key)
        if deployment is None or deployment.controller_uid != pool.uid:
            state.history = state.outcome = None
            return Marking()
        if state.history is None:
            state.history, state.learned = self._first_history(known, deployment.spec_replicas, now), _seed(known)
        self._observe(state, pool, reading, now)
        demand = self._demand(pool, state, reading, deployment.spec_replicas, now)
        decision = decide(pool.policy, demand, state.history, now)
        state.history = decision.history
        workload = workload_of(deployment, state.workers, agent=pool.agent, pods=self._store.pods(pool.key))
        planned = plan(pool.policy, decision, demand, workload)
        self._keep(state, pool, deployment, reading, Outcome(demand, decision, planned), now)
        down = planned.replicas is not None and planned.replicas < demand.current_replicas
        if down and self._drainer.is_busy(pool.key):
            return Marking()  # a mark that comes or goes now could change whom Kubernetes takes
        if planned.replicas is not None:
            change = Change(demand.current_replicas, planned.replicas, planned.message)
            self._writer.submit(known, change, lambda pods: self._remember_change(state, pods))
        elif self._writer.refusal(pool.key) is not None:
            self._writer.forget(pool.key)
            self._changed(pool.key)
        return self._marking(pool, planned, reading)

    def _observe(self, state: _PoolState, pool: WorkerPool, reading: PoolReading | BrokerDoubt, now: float) -> None:
        """Join Pods and reports, and learn from them; a doubt leaves what was seen last."""
        if not pool.agent:
            state.workers = None
        elif isinstance(reading, PoolReading):
            pods = self._store.pods(pool.key)
            state.workers = state.observer.observe(pods, reading.reports, reading.marks, pool.policy.slots, now)
            state.learned = learn(state.learned, sample_of(reading, state.workers, now))

    def _keep(
        self,
        state: _PoolState,
        pool: WorkerPool,
        deployment: DeploymentRecord,
        reading: PoolReading | BrokerDoubt,
        outcome: Outcome,
        now: float,
    ) -> None:
        """Keep the outcome for the status and the metrics, and tell where it is news."""
        before, idle_since = state.outcome, outcome.decision.history.idle_since
        readable = isinstance(reading, PoolReading)
        state.outcome = replace(
            outcome,
            idle_seconds=None if idle_since is None else now - idle_since,
            workers=state.workers,
            trouble=trouble_of(pool, state.workers) if state.workers else None,
            learned=state.learned if readable and state.workers else None,
            dead_letters=reading.dead if isinstance(reading, PoolReading) else None,
        )
        self._measure(pool, deployment, reading, state.outcome)
        self._tell_of_dead_letters(pool, before, state.outcome)
        if urgent_outcome(before) != urgent_outcome(state.outcome):
            self._changed(pool.key)

    def _tell_of_dead_letters(self, pool: WorkerPool, before: Outcome | None, now: Outcome) -> None:
        if before is None or before.dead_letters is None or now.dead_letters is None:
            return
        if (more := now.dead_letters - before.dead_letters) > 0:
            message = (
                f"{more} messages are dead letters now ({now.dead_letters} in all): each was running in"
                f" {pool.max_attempts} workers that died; see them with `celeriac dead-letters list QUEUE`"
            )
            self._tell(Notice(pool.key, "Warning", Reason.DEAD_LETTERED, message, "dead-letters"))

    def _marking(self, pool: WorkerPool, planned: Plan, reading: PoolReading | BrokerDoubt) -> Marking:
        """What the plan asks for, and what Redis must be told that a broken write of before left untold."""
        if isinstance(reading, BrokerDoubt):
            return Marking()
        pods = {pod.uid: pod for pod in self._store.pods(pool.key)} if pool.agent else {}
        return Marking(
            drain=tuple(pods[uid] for uid in planned.drain if uid in pods),
            undrain=tuple(pods[uid] for uid in planned.undrain if uid in pods),
            release=tuple(pods[uid] for uid in planned.release if uid in pods),
            corrections=corrections(pods.values(), reading.marks),
        )

    def _remember_change(self, state: _PoolState, pods: int) -> None:
        if state.history is not None:
            state.history = record_change(state.history, self._clock(), pods)

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
        if state.workers is None:
            return demand_without_agent(reading, replicas, pool.policy.slots)
        unresolved = pool.uid in self._custody.unresolved
        return demand_of(reading, replicas, state.workers, state.learned, unresolved=unresolved)

    def _first_history(self, known: KnownPool, replicas: int, now: float) -> History:
        """Windows full of the current replicas; idleness goes on from where the status says it began."""
        idle_since = known.status.get("idleSince")
        if idle_since is None:
            return fresh_history(replicas, now)
        seconds = (datetime.now(UTC) - parse_timestamp(idle_since)).total_seconds()
        return fresh_history(replicas, now, now - max(seconds, 0.0))

    def _measure(
        self, pool: WorkerPool, deployment: DeploymentRecord, reading: PoolReading | BrokerDoubt, outcome: Outcome
    ) -> None:
        if isinstance(reading, PoolReading):
            self._metrics.queues(pool.key, reading.queues)
        else:
            self._metrics.queues_unknown(pool.key)
        self._metrics.pool(
            pool.key,
            desired=outcome.decision.replicas,
            replicas=deployment.spec_replicas,
            ready=deployment.ready,
            slots=deployment.spec_replicas * pool.policy.slots,
            running=outcome.demand.running if isinstance(outcome.demand, Demand) else None,
        )
        self._metrics.decision(pool.key, outcome.reason)
        self._metrics.workers(pool.key, figures(outcome))


def _seed(known: KnownPool) -> Learned:
    """What the last leader had learned, as the status tells it."""
    runtime, cold_start = known.status.get("taskRuntimeSeconds"), known.status.get("coldStartSeconds")
    return Learned.seeded(runtime_seconds=runtime, cold_start_seconds=cold_start)
