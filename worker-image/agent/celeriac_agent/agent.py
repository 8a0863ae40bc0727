"""The agent of one worker: makes the parts, hands each what it needs, and runs them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import redis

from .celery_worker import CeleryWorker, acknowledge_at_the_end, prepare_connections
from .channel import TaskChannel, client_of
from .counters import Counters
from .deliveries import Deliveries
from .drain import Drain
from .ending import Ending, before_pool_closes
from .fetching import fetch_by_need
from .gate import Gate
from .green import look_at_the_pool
from .heartbeat import Heartbeat
from .hooks import DRAIN, DRAIN_LEVEL, REPORT_LEVEL, Hooks, level_of, words_of
from .identity import Identity
from .idle import mind_idle_connection
from .leftover import Leftover
from .lost_children import lay_over_lost_children
from .outcomes import outcomes_of
from .own_keys import OwnKeys
from .prefetch import Prefetch
from .reconnect import Reconnect
from .refusals import Refusals, discard_without_result, outlast_refusals, passes
from .registry import Registry
from .report import Report
from .restoring import Restoring
from .sampler import Sampler
from .sentinels import know_sentinels
from .settings import TransportSettings
from .silence import OverdueReplies, limit_silence
from .slots import Slots
from .started import StartedMarks
from .tally import Tally
from .times import TICK_SECONDS
from .unwritten import Unwritten


class Agent:
    """Everything of one worker process, put together."""

    def __init__(self, worker: Any, identity: Identity, hooks: Hooks, *, limits_prefetch: bool) -> None:
        self.identity, self.hooks = identity, hooks
        self.worker, self.counters, self.slots = CeleryWorker(worker), Counters(), Slots()
        self.settings = TransportSettings(worker._conninfo.transport_options or {}, identity.process)
        self.registry = Registry(identity, self.settings)
        self.own_keys = OwnKeys(self.worker, hooks, self.registry, self.counters)
        self.started = StartedMarks(self.worker, hooks, self.registry)
        self.unwritten = Unwritten(self.worker, self.slots, self.registry, refusals := Refusals())
        self.drain = Drain(self.worker, self.slots, self.registry, self.unwritten, self.counters)
        limited = limits_prefetch and hooks.have(*DRAIN)
        self.prefetch = Prefetch(self.worker, self.slots, self.drain) if limited else None
        self.leftover = Leftover(self.slots, self.drain, self.registry, self.counters)
        self.restoring = Restoring(self.registry, self.slots, self.unwritten, refusals, self.counters)
        self.deliveries = Deliveries(self.settings, identity.max_attempts, self.slots, self.counters)
        self.reconnect = Reconnect(self.worker, hooks, self.slots, self.counters)
        self.tally = Tally(hooks, self.counters)
        self.report = Report(
            *(identity, self.settings, self.worker, hooks, self.slots, self.drain, self.counters),
            *(refusals, self.unwritten, self.tally),
            limits_prefetch=limited,
        )
        self.sampler = Sampler(hooks, self.slots, self.started, self.counters)
        self.heartbeat = Heartbeat(
            *(self.worker, hooks, self.registry, self.drain, self.report, self.sampler, self.counters),
            *(refusals, self.unwritten, self.tally),
        )
        self.ending = Ending(self.worker, hooks, self.slots, self.drain, self.unwritten, self.heartbeat)
        self.refusals, self.overdue = refusals, OverdueReplies()
        self.channel: TaskChannel | None = None  # of the latest connection
        self._timer: Any = None

    @classmethod
    def of(cls, worker: Any, environ: Mapping[str, str]) -> Agent:
        """The agent of a worker that begins to start."""
        know_sentinels(environ)
        hooks = Hooks(words_of(environ, "CELERIAC_AGENT_WITHOUT"), level_of(environ.get("CELERIAC_AGENT_LEVEL")))
        identity = Identity.from_environment(environ, time.time())
        return cls(worker, identity, hooks, limits_prefetch=environ.get("CELERIAC_DISABLE_PREFETCH") == "1")

    # -- start

    def install_gate(self) -> None:
        """Put the gate in front of the pool, before any request exists."""
        if not self.hooks.have("process-task"):
            return
        try:
            outcomes = outcomes_of(self.worker, self.hooks, self.tally, self.counters)
            gate = Gate(self.worker, self.slots, self.drain, self.started, self.prefetch, outcomes)
            gate.install(watch=self.hooks.have("apply-async"), futures=self.hooks.have("futures"))
            if self.hooks.have("pool-close"):
                before_pool_closes(self.worker, self.stop)
        except Exception as error:
            self.hooks.lose("process-task")
            self.counters.failed("install the gate", error)

    def prepare_connections(self, consumer: Any) -> None:
        """See each connection of the consumer's before it is made; none of the process's waits for a reply for ever."""
        try:
            if self.hooks.inflight:
                limit_silence()
                prepare_connections(consumer, self.own_keys.prepare)
            if self.hooks.inflight and self.hooks.have("refusals"):
                outlast_refusals(consumer, self.refusals)
                self._attempt("see to results of discarded tasks", discard_without_result, self.worker.app)
        except Exception as error:
            self.counters.failed("prepare for connections", error)

    def connected(self, consumer: Any) -> None:
        """A connection was made and nothing consumed yet: register, take over, restore, and only then consume.

        Errors of the connection are raised: Celery connects again. They are named here and not taken from Celery's
        list: from kombu 5.7 on it holds KeyError, and Celery would connect for ever over a KeyError of the agent's.
        """
        first = self.channel is None
        channel = TaskChannel(consumer)
        try:
            self.settings.settle(channel)
            self.registry.client = client_of(channel)
            self.started.reconnect()
            self.own_keys.use(channel)
            if first and self.hooks.level != REPORT_LEVEL:
                self._attempt("set reject_on_worker_lost", lay_over_lost_children, self.worker.app, os.environ)
            self.report.describe(channel)
            if first and self.hooks.level == DRAIN_LEVEL:
                acknowledge_at_the_end(consumer)
                self.reconnect.listen_to_children()
            self.channel = self.heartbeat.channel = channel
            self._take_over(channel)
            self._restore(channel, first)
            self.worker.phase = "consuming"
            self.heartbeat.beat()
            self._start_reporting(consumer)
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
            raise
        except Exception as error:
            if passes(error) and self.hooks.have("refusals"):
                raise  # Celery connects again, see outlast_refusals
            self.counters.failed("start", error)
            if self.hooks.inflight and not self.registry.registered:
                self.own_keys.give_up(channel, "registry")

    def _take_over(self, channel: TaskChannel) -> None:
        """Install the overrides of the channel, each only where its hook is there."""
        if self.hooks.inflight and self.hooks.have("refusals"):
            self.unwritten.take_over(channel)
        if self.hooks.inflight:
            self.deliveries.take_over(channel)
            self.reconnect.take_over(channel)
            self.overdue.watch(channel)
        if self.hooks.drain:
            mind_idle_connection(channel, self.hooks)
            fetch_by_need(channel, self.drain, self.prefetch)

    def _restore(self, channel: TaskChannel, first: bool) -> None:
        """Put back what earlier starts in this pod left, and after a reconnect what is held here and does not run."""
        if not self.hooks.inflight:
            self.slots.orphan()
            return
        self.leftover.connected()
        if not first:
            self.reconnect.adopt(channel)
            self.unwritten.write_down()
        self.restoring.connected(again=not first)
        self.restoring.step(channel)

    def _attempt(self, what: str, do: Callable[..., None], *args: Any) -> None:
        """Do something that may fail without taking the rest with it, unless it is the connection that fails."""
        try:
            do(*args)
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
            raise
        except Exception as error:
            self.counters.failed(what, error)

    def _start_reporting(self, consumer: Any) -> None:
        if self._timer is not None:
            # A green pool's timer returns the greenlet of the first call; its entry is what repeats.
            getattr(self._timer, "entry", self._timer).cancel()
        self._timer = consumer.timer.call_repeatedly(TICK_SECONDS, self.tick)
        look_at_the_pool(self.worker, self.hooks, consumer.timer)
        if not self.worker.is_prefork() and not self.worker.is_green():
            self.heartbeat.start_thread()

    def join_loop(self, hub: Any) -> None:
        """The loop of a new connection begins: only now may anything but that connection be in its poller.

        Until then kombu polls it for the connection alone, and before 5.7 takes the worker down over what it does not
        know.
        """
        if self.prefetch is not None and not self.worker.is_prefork():
            self._attempt("listen for ended tasks", self.prefetch.listen, hub)

    # -- while it runs

    def tick(self) -> None:
        """The loop's part, five times a second."""
        try:
            self.drain.held |= self.slots.prune()
            self.started.collect()
            self.refusals.tell()
            if (channel := self.channel) is not None:
                self.overdue.step(channel, reads_at_once=self.hooks.drain)
            if channel is not None and self.worker.phase == "consuming":
                self.unwritten.step(channel)
                self.restoring.step(channel)
                if self.hooks.drain:
                    self.drain.step(channel)
                    self.leftover.step(channel)
                    if self.prefetch is not None and self.drain.token is None:
                        self.prefetch.step(channel)
        except Exception as error:
            self.counters.failed("tick", error)
        if self.heartbeat.thread is None:
            self.sampler.look()
            if self.heartbeat.due():
                self.heartbeat.beat()

    def disconnected(self) -> None:
        """The connection was lost, or the worker is stopping."""
        self.worker.phase = "stopping" if self.worker.stopping else "disconnected"

    def stop(self) -> None:
        """The worker was told to stop; its loop has made its last turn. Called twice, if all hooks are there."""
        try:
            self.ending.begin(self.channel)
        except Exception as error:
            self.counters.failed("stop", error)

    def leave(self) -> None:
        """The worker has stopped: leave nothing behind, unless messages are."""
        try:
            self.unwritten.end()
            self.heartbeat.stop()
            if self.channel is not None:
                self.registry.leave()
        except Exception as error:
            self.counters.failed("leave", error)
