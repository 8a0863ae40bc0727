"""What the parts ask of Celery's worker, and how far it is in its life."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

from celery import bootsteps
from celery.utils.log import get_logger
from celery.worker import state as worker_state

from .odd_values import as_count, as_seconds, as_text

logger = get_logger("celeriac")

LOOKS_APART = 500  # times as long as a look takes


class CeleryWorker:
    """One worker of Celery's; `phase` is starting, consuming, disconnected or stopping."""

    def __init__(self, worker: Any) -> None:
        self.raw, self.app = worker, worker.app
        self.phase = "starting"
        self.stopping = False
        self.waits_for_slots = True  # of a green pool, before a task is handed to it

    def queues(self) -> list[str]:
        """The queues that this worker consumes from, each by the name by which a pool has to name it.

        That is the name of its list in Redis. A Broadcast has none, and a name of its own that is new at each start:
        its alias is what -Q takes. Before Celery 5.7 a queue that remote control cancelled and added again is consumed
        from, and missing in `consume_from`.
        """
        consumer = getattr(getattr(self.raw, "consumer", None), "task_consumer", None)
        queues = self.app.amqp.queues.consume_from.values() if consumer is None else consumer.queues
        return [told_name(queue) for queue in queues]

    def is_prefork(self) -> bool:
        """Whether tasks run in children of this process."""
        return self._pool_is("celery.concurrency.prefork")

    def children(self) -> list[int]:
        """The pids of prefork's children."""
        processes = getattr(getattr(self.raw.pool, "_pool", None), "_pool", ()) if self.is_prefork() else ()
        return [process.pid for process in list(processes)]

    def is_green(self) -> bool:
        """Whether tasks run in greenlets of the loop's own thread."""
        return bool(getattr(self.raw.pool, "is_green", False))

    def is_solo(self) -> bool:
        """Whether a task blocks the loop, so that even an early acknowledgement is sent after it."""
        return self._pool_is("celery.concurrency.solo")

    def pool_class(self) -> str:
        """The class of its pool, as module:name."""
        pool = type(self.raw.pool)
        return f"{pool.__module__}:{pool.__name__}"

    def slots(self) -> int:
        """How many tasks its pool runs at once.

        `limit` is what prefork began with, and gevent before 5.6, not what they grew to; `num_processes` of green
        pools is what runs now, before Celery 5.6.
        """
        pool = self.raw.pool
        if self.is_green() and getattr(pool, "_pool", None) is not None:
            return as_count(getattr(pool._pool, "size", None) or pool.limit, 1)
        if getattr(pool, "uses_semaphore", False):
            return as_count(pool.num_processes, 1)
        return as_count(getattr(pool, "limit", None) or pool.num_processes, 1)

    def most_slots(self) -> int:
        """How many they may become: --autoscale grows by what waits."""
        return as_count(getattr(self.raw, "max_concurrency", None), self.slots())

    def prefetch_multiplier(self) -> int:
        """How many messages Celery reserves for each slot; 0: without a limit."""
        return as_count(self.raw.prefetch_multiplier)

    def limits_prefetch(self) -> bool:
        """Whether Celery reserves only what can run at once."""
        return bool(self.app.conf.get("worker_disable_prefetch"))

    def acks_late(self) -> bool:
        """Whether tasks are acknowledged after they ran, unless they say otherwise."""
        return bool(self.app.conf.task_acks_late)

    def time_limit(self) -> float | None:
        """After so many seconds a task is killed, unless it says otherwise; None: never, or nothing that is seconds."""
        return as_seconds(getattr(self.raw, "time_limit", None))

    def is_told_to_stop(self) -> bool:
        """Whether the worker stops, or Celery has been asked to stop it by a signal."""
        return self.stopping or any(
            flag is not None and flag is not False for flag in (worker_state.should_stop, worker_state.should_terminate)
        )

    def is_told_to_end_at_once(self) -> bool:
        """Whether Celery has been asked, by a second signal, not to wait for anything."""
        return worker_state.should_terminate not in (None, False)

    def stop(self) -> None:
        """As SIGTERM does; once. A task that runs is ended first."""
        if not self.is_told_to_stop():
            logger.warning("Told to stop by the operator: SIGTERM has not come, or this worker takes no message")
            os.kill(os.getpid(), signal.SIGTERM)

    def tasks_survive_a_reconnect(self) -> bool:
        """Whether tasks go on running when the connection is lost now."""
        cancels = self.app.conf.get("worker_cancel_long_running_tasks_on_connection_loss")
        running = self.raw.blueprint.state == bootsteps.RUN
        return running and not cancels and not self.is_told_to_stop()

    def _pool_is(self, module: str) -> bool:
        return any(base.__module__ == module for base in type(self.raw.pool).__mro__)


def told_name(queue: Any) -> str:
    """The alias of a queue of a fanout exchange, the name of any other."""
    alias = as_text(getattr(queue, "alias", None))
    broadcast = getattr(getattr(queue, "exchange", None), "type", None) == "fanout"
    return alias if alias and broadcast else as_text(queue.name)


def reserved_requests() -> list[Any]:
    """Celery's set of them as it is now; threads of the pool take requests out meanwhile."""
    references = worker_state.reserved_requests.data.copy()
    return [request for request in (reference() for reference in references) if request is not None]


def active_requests() -> list[Any]:
    """Celery's set of those that run, as it is now."""
    references = worker_state.active_requests.data.copy()
    return [request for request in (reference() for reference in references) if request is not None]


def is_known(request: Any) -> bool:
    """Whether Celery counts a request as reserved or active."""
    return request in worker_state.reserved_requests or request in worker_state.active_requests


def forget_request(request: Any) -> None:
    """Take a request out of Celery's sets."""
    worker_state.reserved_requests.discard(request)
    worker_state.active_requests.discard(request)
    getattr(worker_state, "scheduled_requests", set()).discard(request)
    if worker_state.requests.get(request.id) is request:
        worker_state.requests.pop(request.id, None)


def eta_entries(timer: Any) -> list[tuple[Any, Any]]:
    """The timer's entries that hold a request for its ETA, each with the item it stands in."""
    found = []
    for item in list(getattr(timer, "_queue", ())):
        entry: Any = getattr(item, "entry", None)
        name = getattr(getattr(entry, "fun", None), "__name__", "")
        if name in ("apply_eta_task", "_limit_post_eta") and entry.args and not entry.canceled:
            found.append((item, entry))
    return found


class EtaCount:
    """How many requests wait for their time, by looks at the timer that take next to none of the time.

    Between two looks it follows the length of the timer's queue.
    """

    def __init__(self) -> None:
        self._others = 0  # entries of the queue that hold no request
        self._next = 0.0  # monotonic seconds

    def of(self, timer: Any) -> int:
        """Count them, or estimate."""
        begun = time.monotonic()
        if begun >= self._next:
            self._others = len(timer._queue) - len(eta_entries(timer))
            self._next = begun + LOOKS_APART * (time.monotonic() - begun)
        return max(len(timer._queue) - self._others, 0)


def prepare_connections(consumer: Any, prepare: Callable[[Any], None]) -> None:
    """Have `prepare` called with each connection that the worker is going to consume through, before it is made."""
    connect, ensure_connected = consumer.connect, consumer.ensure_connected

    def connect_prepared(*args: Any, **kwargs: Any) -> Any:
        def prepared(connection: Any, *others: Any, **more: Any) -> Any:
            prepare(connection)
            return ensure_connected(connection, *others, **more)

        consumer.ensure_connected = prepared
        try:
            return connect(*args, **kwargs)
        finally:
            consumer.ensure_connected = ensure_connected

    consumer.connect = connect_prepared


def requests_in_place(consumer: Any) -> list[Any]:
    """All requests that Celery will see to: reserved, waiting for their time, or for their turn in a rate limit."""
    limited = [item[0] for bucket in consumer.task_buckets.values() if bucket is not None for item in bucket.contents]
    return [*reserved_requests(), *(entry.args[0] for _, entry in eta_entries(consumer.timer)), *limited]


def acknowledge_at_the_end(consumer: Any) -> None:
    """Flush acknowledgements of tasks that finished after the loop stopped, before the channel puts back the rest.

    Celery does so from 5.5 on. Before, a warm shutdown on gevent and eventlet let their last tasks run twice.
    """
    shut_down = consumer.shutdown

    def acknowledge_and_shut_down() -> None:
        send_pending(consumer)
        shut_down()

    consumer.shutdown = acknowledge_and_shut_down


def send_pending(consumer: Any) -> None:
    """Send the acknowledgements that wait for the loop to turn, where Celery keeps them by the name that is known."""
    send = getattr(consumer, "perform_pending_operations", None)
    if send is not None:
        send()
