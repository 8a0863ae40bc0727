"""Celeriac's agent: what a Celery worker has to know about its operator.

    celery -A user.app worker -I celeriac_agent

It needs nothing but Celery 5.3 to 5.7 on Redis and Python 3.9. It keeps the messages that this worker holds in keys of
the worker's own, puts them back where they came from, reports once a second, and drains the worker on request. An error
in it never takes the worker down: what it cannot do is missing from the `capabilities` of its report.

Environment (set by the operator; without CELERIAC_POOL_UID the package does nothing):

    CELERIAC_POOL_UID, CELERIAC_POOL, CELERIAC_NAMESPACE, CELERIAC_POD_UID, CELERIAC_POD_NAME   who this worker is
    CELERIAC_AGENT_LEVEL       report: touch nothing; inflight: keep messages under own keys; drain (default): all
    CELERIAC_MAX_ATTEMPTS      a message started in so many processes that died becomes a dead letter (5)
    CELERIAC_DISABLE_PREFETCH  1: reserve only what can run at once, and a little ahead of short tasks
    CELERIAC_SENTINEL_USERNAME, _PASSWORD, _TLS   what the broker's Sentinels ask for; _TLS is a folder of PEM files
    CELERIAC_REJECT_ON_WORKER_LOST  1 or 0: laid over task_reject_on_worker_lost, except at the level report
    CELERIAC_AGENT_WITHOUT     comma-separated names of HOOKS that are to be treated as missing: for tests of faults

This module is Celery's side: two bootsteps and two signals. The module `agent` puts the parts together; no part imports
it, and none imports this module.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from celery import bootsteps, signals
from celery.utils.log import get_logger

if TYPE_CHECKING:
    from .agent import Agent

logger = get_logger("celeriac")

AGENTS: dict[int, Agent] = {}  # by id of the worker: one, unless an application embeds workers


def agent_of(worker: Any) -> Agent | None:
    """The agent of a worker, None if it has none."""
    return AGENTS.get(id(worker))


class WorkerStep(bootsteps.StartStopStep):
    """Stands between the pool and the consumer: starts the agent, and installs the gate before any request exists."""

    requires = ("celery.worker.components:Pool",)

    def create(self, worker: Any) -> None:
        """Start the agent and install the gate."""
        start_agent(worker)
        agent = agent_of(worker)
        if agent is not None:
            agent.install_gate()

    def start(self, worker: Any) -> None:
        """Nothing: the consumer's step starts the rest."""

    def close(self, worker: Any) -> None:
        """The worker begins to stop."""
        agent = agent_of(worker)
        if agent is not None:
            agent.stop()

    def stop(self, worker: Any) -> None:
        """Nothing: what ends with the worker ends by its signal."""

    terminate = stop


class ConsumerStep(bootsteps.StartStopStep):
    """Runs for each connection, before anything is consumed."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def create(self, consumer: Any) -> None:
        """Before the first connection: see each of them before it is made."""
        agent = agent_of(consumer.controller)
        if agent is not None:
            agent.prepare_connections(consumer)

    def start(self, consumer: Any) -> None:
        """Take over the new connection's channel."""
        agent = agent_of(consumer.controller)
        if agent is not None:
            agent.connected(consumer)

    def register_with_event_loop(self, consumer: Any, hub: Any) -> None:
        """The loop of the new connection is about to begin; green pools have none."""
        agent = agent_of(consumer.controller)
        if agent is not None:
            agent.join_loop(hub)

    def stop(self, consumer: Any) -> None:
        """Note that the connection is gone."""
        agent = agent_of(consumer.controller)
        if agent is not None:
            agent.disconnected()


def on_worker_init(sender: Any = None, **_: Any) -> None:
    """Join the steps of the worker itself, not those of `current_app`: a module may create several applications."""
    try:
        sender.app.steps["worker"].add(WorkerStep)
        sender.app.steps["consumer"].add(ConsumerStep)
    except Exception as error:
        tell_when_ready(type(error).__name__)


def start_agent(worker: Any) -> None:
    """Start the agent of a worker that has its pool.

    The parts are imported here, so that one that cannot be imported leaves a plain worker, and not before: they look at
    modules of Celery that bind what they use when they are loaded, and pools patch that as they are made.
    """
    try:
        if getattr(worker._conninfo.transport, "driver_type", "") != "redis":
            return
        from .agent import Agent

        AGENTS[id(worker)] = Agent.of(worker, os.environ)
    except Exception as error:
        tell_when_ready(type(error).__name__)


def tell_when_ready(error: str) -> None:
    """Log that there is no agent, once the worker is ready: at its start Celery has not set up logging yet."""

    def tell(**_: Any) -> None:
        logger.warning("Celeriac's agent could not start (%s)", error)

    signals.worker_ready.connect(tell, weak=False)


def on_worker_shutdown(sender: Any = None, **_: Any) -> None:
    """Take the worker out of the registry."""
    agent = AGENTS.pop(id(sender), None)
    if agent is not None:
        agent.leave()


if os.environ.get("CELERIAC_POOL_UID"):
    signals.worker_init.connect(on_worker_init, weak=False)
    signals.worker_shutdown.connect(on_worker_shutdown, weak=False)
