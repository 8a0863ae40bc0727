"""The composition root: wires the wings together, starts them, and stops them in good order."""

import asyncio
import logging
import signal
import time
from collections.abc import Coroutine
from functools import partial
from typing import Any

from celeriac import __version__
from celeriac.answering.answers import Answers
from celeriac.answering.desk import Desk
from celeriac.api.authority import Authority
from celeriac.api.keys import PoolKey
from celeriac.api.names import (
    NAMESPACE_SELECTOR_ANNOTATION,
    NAMESPACES_ANNOTATION,
    OPERATOR_ANNOTATION,
    SELECTOR_ANNOTATION,
)
from celeriac.autoscaling.actuator import Actuator
from celeriac.autoscaling.rollouts import RolloutReader
from celeriac.autoscaling.tick import Autoscaler
from celeriac.brokers.allowance import CALL_SECONDS, Allowance
from celeriac.brokers.connect import connect
from celeriac.brokers.dialing.dial import Dialer
from celeriac.brokers.dialing.resolver import Resolver
from celeriac.cluster.agent_config import AgentConfigs
from celeriac.cluster.client import Api
from celeriac.cluster.errors import BadConfiguration
from celeriac.cluster.events import EventRecorder
from celeriac.cluster.lease import Lease
from celeriac.cluster.reviews import Readers
from celeriac.connecting.api_server import ApiServerAddresses
from celeriac.connecting.connections import Connections
from celeriac.connecting.credentials import Credentials
from celeriac.garbage import collect_now_and_then
from celeriac.reconciling.agent_files import read_agent
from celeriac.reconciling.agent_sweeper import AgentSweeper
from celeriac.reconciling.applied import AppliedBook
from celeriac.reconciling.applier import Applier
from celeriac.reconciling.reconciler import Reconciler
from celeriac.recovery.reaper import Reaper
from celeriac.reporting.status_book import Budget, StatusBook
from celeriac.reporting.status_writer import StatusWriter
from celeriac.reporting.teller import EventTeller
from celeriac.resources.agent import agent_config_name
from celeriac.settings import Settings
from celeriac.tasks.reader import TaskReader
from celeriac.telemetry.certificate import Certificate
from celeriac.telemetry.http import Guard, Ports, serve
from celeriac.telemetry.logs import log_unretrieved
from celeriac.telemetry.metrics import Metrics
from celeriac.watching.releases import Releases
from celeriac.watching.shard import Shard
from celeriac.watching.store import Store
from celeriac.watching.watch import Watch
from celeriac.watching.workqueue import WorkQueue
from celeriac.workers.custody import Custody

log = logging.getLogger("celeriac")

FLUSH_SECONDS = 5.0
"""How long a shutdown waits for writes under way before it releases the Lease."""
STALE_TICK_SECONDS = 30.0
"""Without a tick for this long the process is stuck, and the liveness probe says so."""


class Operator:
    """One process of the operator, with everything that it runs."""

    def __init__(self, settings: Settings, api: Api, metrics: Metrics) -> None:
        self.settings = settings
        self.api = api
        self.metrics = metrics
        self.queue: WorkQueue[PoolKey] = WorkQueue()
        self.lease = Lease(
            api, settings.lease_namespace, settings.lease_name, settings.identity, annotations=_described(settings)
        )
        self.shard = Shard(
            f"{settings.lease_namespace}/{settings.lease_name}",
            by_namespace=bool(settings.namespace_selector),
            by_pool=bool(settings.pool_selector),
        )
        self.releases = Releases(api, self.shard.operator, has=self._has, is_busy=self._is_busy_with)
        self.store = Store(self.queue.add, self.shard, self.releases.left, settings.platform)
        self.stopping = asyncio.Event()
        self.watch = Watch(api, self.store, self.shard, settings, metrics, self.stopping)
        self.authority = Authority(self.lease.is_holder, self.watch.listed.is_set)
        self.custody = Custody()
        self.credentials = Credentials(api, changed=self.queue.add)
        self.dialer = Dialer(settings.addresses, Resolver(settings.resolv_conf))
        self.api_server = ApiServerAddresses(api, self.dialer)
        allowance = Allowance(CALL_SECONDS, may_send=self.lease.is_holder)
        to_broker = partial(connect, dialer=self.dialer, allowance=allowance)
        self.connections = Connections(to_broker, closed=lambda address: metrics.forget_broker(address.url))
        api.connection.fence = self.lease.is_holder
        self.events = EventRecorder(api, settings.identity)
        self.teller = EventTeller(self.events, self.store)
        budget = Budget(settings.status_writes_per_second, settings.patient_status_writes_per_second)
        book = StatusBook(budget, settings.status_seconds, self.shard.operator)
        self.statuses = StatusWriter(api, metrics, self.teller, book)
        self.actuator = Actuator(
            api=api,
            store=self.store,
            metrics=metrics,
            authority=self.authority,
            queue=self.queue,
            teller=self.teller,
        )
        self.agent, self.agent_configs = read_agent(), AgentConfigs(api)
        self.sweeper = AgentSweeper(
            self.agent_configs,
            agent_config_name(self.agent),
            self.store,
            self.authority,
            settings.watch_namespaces,
            sees_all=not self.shard.is_shared,
        )
        self.reaper = self._make_reaper()
        self.autoscaler = self._make_autoscaler()
        self.reconciler = self._make_reconciler()
        answers = Answers(self.store, self.autoscaler.accounts, self.credentials, self.connections, settings.identity)
        self.desk = Desk(api, answers, self.authority, metrics, settings.watch_namespaces)

    def _make_reaper(self) -> Reaper:
        return Reaper(
            api=self.api,
            store=self.store,
            credentials=self.credentials,
            connections=self.connections,
            metrics=self.metrics,
            authority=self.authority,
            custody=self.custody,
            namespaces=self.settings.watch_namespaces,
            sees_all=not self.shard.is_shared,
            teller=self.teller,
            notes=self.lease,
        )

    def _make_autoscaler(self) -> Autoscaler:
        return Autoscaler(
            store=self.store,
            credentials=self.credentials,
            connections=self.connections,
            actuator=self.actuator,
            rollouts=RolloutReader(self.api),
            custody=self.custody,
            metrics=self.metrics,
            authority=self.authority,
            queue=self.queue,
            teller=self.teller,
            tasks=TaskReader(self.metrics, self.teller, self.settings.task_names, changed=self.queue.add),
        )

    def _make_reconciler(self) -> Reconciler:
        applied = AppliedBook()
        return Reconciler(
            api=self.api,
            store=self.store,
            credentials=self.credentials,
            autoscaler=self.autoscaler,
            refusals=self.actuator.refusals,
            applier=Applier(self.api, self.agent_configs, self.agent, self.store, applied),
            applied=applied,
            statuses=self.statuses,
            queue=self.queue,
            metrics=self.metrics,
            authority=self.authority,
            crowded=self.actuator.is_crowded,
        )

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT, or until a part fails; then stop the ticks, flush, release the Lease."""
        self._take_signals()
        asyncio.get_running_loop().set_exception_handler(log_unretrieved)
        settings = self.settings
        writers: list[Coroutine[Any, Any, None]] = [
            self.autoscaler.run(settings.tick_seconds),
            self.reaper.run(settings.reap_seconds),
            self.sweeper.run(settings.agent_sweep_seconds),
            *(self.reconciler.run() for _ in range(settings.reconcile_workers)),
            self.desk.run(),
        ]
        readers: list[Coroutine[Any, Any, None]] = [
            self.watch.run(after_start=self._take_signals),
            self._follow_lease(),
            self.api_server.run(),
            collect_now_and_then(self.watch.listed),
            serve(
                self.metrics,
                Ports(settings.metrics_port, settings.health_port, settings.metrics_host),
                _guard(settings, self.api),
                healthy=self._healthy,
                ready=self.watch.listed.is_set,
            ),
        ]
        writing = [asyncio.create_task(part) for part in writers]
        reading = [asyncio.create_task(part) for part in readers]
        leasing = asyncio.create_task(self.lease.run())
        stop = asyncio.create_task(self.stopping.wait())
        try:
            done, _ = await asyncio.wait([*writing, *reading, leasing, stop], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            log.info("stopping")
            self.stopping.set()
            await self._flush(writing)
            await _cancel([leasing, stop])
            await self.lease.release()
            await _cancel(reading)
            await self.credentials.close()
            await self.connections.close()
            await self.dialer.close()

    def _take_signals(self) -> None:
        """Stop in good order on a signal. kopf puts its own handlers there, which would stop the watches first."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stopping.set)

    async def _flush(self, writing: list[asyncio.Task[Any]]) -> None:
        """Begin nothing new and let the writes under way end: only then another may act."""
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                self.autoscaler.stop()
                await _cancel(writing)
                await self.autoscaler.settle()
                await self.reaper.settle()
                await self.events.settle()
        except TimeoutError:
            log.warning("writes still under way after %.0f s are given up", FLUSH_SECONDS)

    def _has(self, key: PoolKey) -> bool:
        return self.store.pools.get(key) is not None

    def _is_busy_with(self, key: PoolKey) -> bool:
        return self.queue.is_working_on(key) or self.autoscaler.is_busy_with(key)

    def _healthy(self) -> bool:
        return time.monotonic() - self.autoscaler.last_tick < STALE_TICK_SECONDS

    async def _follow_lease(self) -> None:
        """A new leader trusts nothing from before: all pools are reconciled anew."""
        while True:
            await self.lease.acquired.wait()
            self._lead(True)
            await self.lease.lost.wait()
            self._lead(False)

    def _lead(self, leads: bool) -> None:
        log.info("this replica %s", "leads" if leads else "does not lead")
        self.metrics.leader(leads)
        self.statuses.book.forget_all()
        for known in self.store.pools.values():
            self.queue.add(known.key)
        self.desk.take_over()


def _guard(settings: Settings, api: Api) -> Guard:
    """Who may read the metrics. Raises BadConfiguration where their certificate cannot be used."""
    may_read = Readers(api, "/metrics").may_read if settings.metrics_auth else None
    if settings.metrics_certificate is None or settings.metrics_key is None:
        return Guard(None, may_read)
    try:
        return Guard(Certificate(settings.metrics_certificate, settings.metrics_key), may_read)
    except OSError as error:
        message = f"cannot use the certificate of the metrics: {error}"
        raise BadConfiguration(0, "BadConfiguration", message) from error


def _described(settings: Settings) -> dict[str, str]:
    """What the Lease says of its holder."""
    namespaces = ",".join(settings.watch_namespaces) or "*"
    return {
        OPERATOR_ANNOTATION: __version__,
        NAMESPACES_ANNOTATION: namespaces,
        NAMESPACE_SELECTOR_ANNOTATION: settings.namespace_selector,
        SELECTOR_ANNOTATION: settings.pool_selector,
    }


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
