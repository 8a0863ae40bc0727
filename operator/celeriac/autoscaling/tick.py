"""The tick over all brokers: each is read in bulk for its pools, each pool takes a step, and what it wants is done.

Each broker is read by a task of its own, so that a slow one delays nobody else's pools. What is decided is kept as an
Outcome for the status.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial

from celeriac.api.authority import Authority
from celeriac.api.keys import PoolKey
from celeriac.api.notices import Teller
from celeriac.api.reasons import Reason
from celeriac.autoscaling.accounts import Accounts
from celeriac.autoscaling.actuator import Actuator
from celeriac.autoscaling.dead_letter_news import DeadLetterNews
from celeriac.autoscaling.groups import USER, Groups
from celeriac.autoscaling.outcome import Outcome, Outlook, figures
from celeriac.autoscaling.pool_scaler import PoolScaler, Seed
from celeriac.autoscaling.queue_sets import QueueSets
from celeriac.autoscaling.rollouts import RolloutReader
from celeriac.autoscaling.sight import Sight
from celeriac.autoscaling.spelling_watch import SpellingWatch
from celeriac.autoscaling.stopwatch import Stopwatch
from celeriac.autoscaling.turns import in_turns
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import Broker, QueueNames
from celeriac.brokers.readings import PoolReading
from celeriac.cluster.records import DeploymentRecord
from celeriac.connecting.connections import Connections
from celeriac.connecting.credentials import BrokerSource, Credentials
from celeriac.pool.model import QueueLayout, WorkerPool
from celeriac.scaling.policy import QueueWaitTarget
from celeriac.scaling.workload import Demand
from celeriac.tasks.reader import TaskReader
from celeriac.telemetry.metrics import Metrics
from celeriac.watching.store import KnownPool, Store
from celeriac.watching.workqueue import WorkQueue
from celeriac.workers.custody import Custody

log = logging.getLogger(__name__)

Readings = list[PoolReading | BrokerDoubt]


class Autoscaler:
    """Scales the pools of a Store while it has the authority."""

    def __init__(
        self,
        *,
        store: Store,
        credentials: Credentials,
        connections: Connections,
        actuator: Actuator,
        rollouts: RolloutReader,
        custody: Custody,
        metrics: Metrics,
        authority: Authority,
        queue: WorkQueue[PoolKey],
        teller: Teller,
        tasks: TaskReader,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._credentials = credentials
        self._connections = connections
        self._actuator = actuator
        self._rollouts = rollouts
        self._custody = custody
        self._metrics = metrics
        self._authority = authority
        self._queue = queue
        self._teller = teller
        self._tasks = tasks
        self._dead_letters = DeadLetterNews(teller)
        self._spelling = SpellingWatch(clock)
        self._clock = clock
        self._groups = Groups(store, credentials, clock)
        self._work = Stopwatch()
        self._scalers: dict[PoolKey, PoolScaler] = {}
        self._queue_sets = QueueSets(store, self._learned)
        self._reading: dict[BrokerAddress, asyncio.Task[None]] = {}
        self._stopped = False
        self.accounts = Accounts(self._scaler, clock)
        self.last_tick = clock()

    def outlook(self, known: KnownPool) -> Outlook | None:
        """What the last tick found and decided; None until the broker of this pool, as its spec is now, was tried."""
        scaler = self._scaler(known)
        if scaler is None or scaler.generation != known.generation:
            return None
        misspelled, uncounted = self._spelling.of(known.key), self._tasks.unread(known.key)
        return Outlook(scaler.outcome_at(self._clock()), scaler.doubt, misspelled, uncounted)

    async def run(self, seconds: float) -> None:
        """Tick for ever, every `seconds`; a tick that takes longer is followed at once by the next."""
        while True:
            started = self._clock()
            try:
                with self._work.running():
                    self.tick()
            except Exception:
                log.exception("a tick failed by a fault of the operator; replicas hold until the next")
            self.last_tick = self._clock()
            await asyncio.sleep(max(0.0, seconds - (self.last_tick - started)))
            self._metrics.tick(self._work.take())

    def tick(self) -> None:
        """Start the reading of every broker that is not being read, and decide for pools that have no readable one."""
        self._metrics.unreadable(self._store.unreadable)
        if not self._authority.may_judge_pods:
            self._scalers.clear()
            self._groups.clear()
            self._tasks.tell_all_again()
            return
        if self._groups.follow():
            self._forget_all_but(self._groups.pools)
            self._retain_connections()
        for pool, doubt in self._groups.in_doubt:
            self._step(pool, doubt)
        for key in self._spelling.look(self._groups.readable, self._scalers, partial(_names, self._connections)):
            self._queue.add(key)
        for address, members in self._groups.readable.items():
            if address not in self._reading:
                work = self._work.measured(self._read(address, members))
                self._reading[address] = asyncio.get_running_loop().create_task(work)

    def is_busy_with(self, key: PoolKey) -> bool:
        """Whether something may still be decided or written for the pool."""
        return key in self._scalers or self._actuator.is_busy_with(key)

    def stop(self) -> None:
        """Decide nothing more, whatever a reading under way brings."""
        self._stopped = True

    async def settle(self) -> None:
        """Wait for readings and writes under way."""
        await asyncio.gather(*self._reading.values(), return_exceptions=True)
        await self._dead_letters.settle()
        await self._spelling.settle()
        await self._rollouts.settle()
        await self._tasks.settle()
        await self._actuator.settle()

    def _scaler(self, known: KnownPool) -> PoolScaler | None:
        scaler = self._scalers.get(known.key)
        return scaler if scaler is not None and scaler.uid == known.uid else None

    def _forget_all_but(self, pools: Mapping[PoolKey, WorkerPool]) -> None:
        """A pool that is gone, or invalid now, has no figures any more."""
        for key in [key for key, scaler in self._scalers.items() if key not in pools or pools[key].uid != scaler.uid]:
            del self._scalers[key]
            self._actuator.forget(key)
            self._metrics.forget(key)
            self.accounts.journal.forget(key)
            self._queue.add(key)
        self._queue_sets.clear()
        self._rollouts.retain(pools.keys())
        self._tasks.retain(pools.keys())

    def _retain_connections(self) -> None:
        self._connections.retain(USER, self._groups.readable.keys() | self._reading.keys())

    async def _read(self, address: BrokerAddress, pools: list[WorkerPool]) -> None:
        """Read one broker and take a step for each of its pools; until then nobody else reads it."""
        try:
            await self._read_and_step(address, pools)
        finally:
            self._reading.pop(address, None)
            if address not in self._groups.readable:
                self._retain_connections()

    async def _read_and_step(self, address: BrokerAddress, pools: list[WorkerPool]) -> None:
        started = self._clock()
        broker, readings, failure = await _read(self._connections, address, self._queue_sets, pools)
        self._metrics.broker_read(address.url, self._clock() - started, reason=failure)
        async for pool, reading in in_turns(zip(pools, readings, strict=True), self._clock):
            if isinstance(reading, BrokerDoubt):
                self._credentials.doubted(BrokerSource.of_pool(pool), reading.reason)
            self._step(pool, reading, broker)
        if broker is not None:
            self._tasks.heard(broker, pools, readings)

    def _learned(self, known: KnownPool) -> QueueLayout | None:
        """What workers have said of a layout; before the first step of this operator the status tells it."""
        scaler = self._scaler(known)
        return scaler.layout if scaler else Seed.of(known.status).layout

    def _step(self, pool: WorkerPool, reading: PoolReading | BrokerDoubt, broker: Broker | None = None) -> None:
        """Let one pool take a step, unless it would find what the last one found.

        Whatever goes wrong with it, the other pools go on.
        """
        scaler = self._scalers.get(pool.key)
        if scaler is not None and scaler.rests(
            *(reading, self._store.revision(pool.key), self._clock()),
            unresolved=pool.uid in self._custody.unresolved,
            carried=self._actuator.carries(pool.key),
        ):
            return
        known = self._store.pools.get(pool.key)
        if self._stopped or not self._authority.may_judge_pods or known is None or known.spec != pool:
            return
        try:
            self._step_of(known, pool, reading, broker)
        except Exception:
            log.exception("pool %s: no decision, by a fault of the operator; its replicas hold", pool.key)

    def _step_of(
        self, known: KnownPool, pool: WorkerPool, reading: PoolReading | BrokerDoubt, broker: Broker | None
    ) -> None:
        now = self._clock()
        scaler = self._scaler(known)
        if scaler is None:
            scaler = self._scalers[pool.key] = PoolScaler(pool.key, pool.uid, Seed.of(known.status), now)
        if scaler.generation != known.generation:
            self._queue.add(pool.key)  # its status waits for the first step that heeds this spec
        deployment = self._store.deployments.get(pool.key)
        pods = self._store.pods(pool.key)
        sets = None
        if deployment is not None:
            shrinks = scaler.outcome is not None and scaler.outcome.decision.replicas < deployment.spec_replicas
            sets = self._rollouts.of(deployment, pods, shrinks=shrinks)
        unresolved, revision = pool.uid in self._custody.unresolved, self._store.revision(pool.key)
        layout = scaler.layout
        step = scaler.step(Sight(pool, reading, deployment, pods, unresolved, sets, revision), now)
        if scaler.layout is not layout:
            self._queue_sets.clear()
        for notice in step.notices:
            self._teller.tell(notice)
        if step.dead:
            self._dead_letters.begin(pool, scaler.layout, step.dead, broker.dead_letters if broker else None)
        if step.outcome is not None and deployment is not None:
            self.accounts.journal.note(pool.key, step.outcome)
            _measure(self._metrics, pool, deployment, reading, step.outcome)
            if step.outcome.healing is not None:
                self._metrics.restarted(pool.key, len(step.outcome.healing.begun))
        if step.is_news:
            self._queue.add(pool.key)
        self._actuator.carry_out(known, pool, step, scaler, broker.agents if broker is not None else None)


async def _read(
    connections: Connections, address: BrokerAddress, queue_sets: QueueSets, pools: list[WorkerPool]
) -> tuple[Broker | None, Readings, Reason | None]:
    """Read all pools of a broker, and say why that failed, if it did; the broker, if it could be reached."""
    broker: Broker | None = None
    try:
        broker = connections.broker(address)
        return broker, list(await broker.queues.read(queue_sets.of(address, pools))), None
    except BrokerDoubt as doubt:
        return broker, [doubt] * len(pools), doubt.reason
    except Exception as error:
        log.exception("a broker could not be read by a fault of the operator")
        fault = BrokerDoubt(Reason.BROKER_ERROR, f"a fault of the operator ({type(error).__name__}); see its log")
        return broker, [fault] * len(pools), fault.reason


def _names(connections: Connections, address: BrokerAddress) -> QueueNames | None:
    """Whom to ask for names of queues there."""
    try:
        return connections.broker(address).names
    except BrokerDoubt:
        return None


def _measure(
    metrics: Metrics,
    pool: WorkerPool,
    deployment: DeploymentRecord,
    reading: PoolReading | BrokerDoubt,
    outcome: Outcome,
) -> None:
    """Say what was found of one pool."""
    target = pool.policy.target
    if isinstance(reading, PoolReading):
        metrics.queues(pool.key, reading.queues)
    else:
        metrics.queues_unknown(pool.key)
    metrics.pool(
        pool.key,
        desired=outcome.decision.replicas,
        replicas=deployment.spec_replicas,
        ready=deployment.ready,
        slots=deployment.spec_replicas * pool.policy.slots,
        running=outcome.demand.at_work if isinstance(outcome.demand, Demand) else None,
        stuck=len(outcome.stuck),
        target_wait=target.seconds if isinstance(target, QueueWaitTarget) else None,
        revision=int(deployment.revision) if deployment.revision.isdecimal() else None,
    )
    metrics.decision(pool.key, outcome.reason)
    metrics.workers(pool.key, figures(outcome))
    metrics.missing_hooks(pool.key, outcome.degradation.hooks if outcome.degradation else {})
