"""What of Celery and kombu is private, and has to be there."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

import celery
import kombu
import redis
from celery.worker import state as worker_state

from .settings import KEYS


def _has(owner: Any, name: str, *parameters: str) -> bool:
    function = getattr(owner, name, None)
    if function is None:
        return False
    return not parameters or set(parameters) <= set(inspect.signature(function).parameters)


def _channel() -> Any:
    from kombu.transport.redis import Channel

    return Channel


def _options_are_taken() -> bool:
    return set(KEYS) <= set(_channel().from_transport_options)


def _qos_is_known() -> bool:
    from kombu.transport.virtual import QoS

    channel = type("Channel", (), {"do_restore": False})()
    qos = QoS(channel)
    return all(hasattr(qos, name) for name in ("_delivered", "_dirty", "_quick_ack", "_quick_append", "_flush"))


def _timer_queue_is_known() -> bool:
    from kombu.asynchronous.timer import Timer

    timer = Timer()
    timer.call_after(60, _has, ("x",))
    return timer_shows_requests(timer)


def timer_shows_requests(timer: Any) -> bool:
    """Whether what waits in a timer, which holds something, can be told; pools bring timers of their own."""
    entries = [getattr(item, "entry", None) for item in timer._queue]
    return any(all(hasattr(entry, name) for name in ("fun", "args", "canceled")) for entry in entries)


def _semaphore_shows_requests() -> bool:
    from kombu.asynchronous.semaphore import LaxBoundedSemaphore

    semaphore = LaxBoundedSemaphore(1)
    taken: list[str] = []
    for name in ("runs", "waits"):
        semaphore.acquire(taken.append, name)
    return [entry[:2] for entry in semaphore._waiting] == [(taken.append, ("waits",))]


def _bucket_shows_requests() -> bool:
    from celery.worker.consumer import Consumer
    from kombu.utils.limits import TokenBucket

    bucket = TokenBucket(1)
    bucket.add("x")
    return list(bucket.contents) == ["x"] and _has(Consumer, "_limit_task", "request", "bucket", "tokens")


def _futures_are_known() -> bool:
    from concurrent.futures import Future

    from celery.concurrency.thread import ApplyResult

    future: Future[None] = Future()
    return ApplyResult(future).f is future


def _keeps_running_tasks() -> bool:
    # Before 5.6 results of tasks that ran over a reconnect never reach the parent of prefork.
    return celery.VERSION[:2] >= (5, 6) and _qos_is_known()


def _connection_can_be_minded() -> bool:
    from kombu.transport.redis import MultiChannelPoller

    poller = MultiChannelPoller()
    known = ("_fd_to_chan", "_chan_to_sock", "_on_connection_disconnect", "_register", "on_readable", "poller")
    return all(hasattr(poller, name) for name in known) and _has(_channel(), "_brpop_start", "timeout")


def _refusals_can_be_minded() -> bool:
    from kombu.transport.virtual import QoS

    channel, qos = _channel(), _channel().QoS
    kept = all(_has(kind, "append", "message", "delivery_tag") for kind in (QoS, qos))
    answered = _has(qos, "ack", "delivery_tag") and _has(qos, "reject", "delivery_tag", "requeue")
    fetched = hasattr(channel, "_brpop_read") and _has(channel, "_brpop_start", "timeout")
    declared = _has(channel, "_queue_bind", "exchange", "routing_key", "pattern", "queue") and all(
        _has(channel, name, "queue") for name in ("_size", "_has_queue", "_delete")
    )
    declared = declared and _has(qos, "restore_visible")
    return kept and answered and fetched and declared and _qos_is_known()


def _children_can_be_heard() -> bool:
    from billiard.pool import READY, ApplyResult, ResultHandler
    from celery.concurrency import asynpool

    known = _has(asynpool.ResultHandler, "_make_process_result", "hub") and hasattr(ApplyResult, "_write_to")
    return known and hasattr(ResultHandler, "_make_methods") and READY is not None


def _ends_are_told() -> bool:
    from celery import signals
    from celery.worker.request import Request

    told = all(hasattr(signals, name) for name in ("task_revoked", "task_unknown", "task_rejected"))
    return told and _has(Request, "send_event", "type") and "__dict__" in dir(Request)


def _consumer() -> Any:
    from celery.worker.consumer import Consumer

    return Consumer


def _worker_class() -> Any:
    from celery.worker import WorkController

    return WorkController


def _base_pool() -> Any:
    from celery.concurrency.base import BasePool

    return BasePool


HOOKS: dict[str, Callable[[], bool]] = {
    # own keys for messages in flight, safe only all together
    "transport-options": _options_are_taken,
    "connection-pool": lambda: _has(_channel(), "_get_pool", "asynchronous"),
    "deliver": lambda: _has(kombu.transport.virtual.Transport, "_deliver", "message", "queue"),
    "restore-message": lambda: _has(
        _channel(), "_do_restore_message", "payload", "exchange", "routing_key", "pipe", "leftmost"
    ),
    "restore-by-tag": lambda: _has(_channel().QoS, "restore_by_tag", "tag", "client", "leftmost"),
    # draining
    "brpop-start": lambda: _has(_channel(), "_brpop_start", "timeout") and hasattr(_channel(), "_in_poll"),
    "can-consume": lambda: _has(_channel().QoS, "can_consume"),
    "qos": _qos_is_known,
    "process-task": lambda: _has(_worker_class(), "_process_task", "req"),
    "worker-state": lambda: all(
        hasattr(worker_state, name)
        for name in (
            *("requests", "reserved_requests", "active_requests", "total_count"),
            *("should_stop", "should_terminate"),
        )
    ),
    "timer-queue": _timer_queue_is_known,
    "semaphore": _semaphore_shows_requests,
    "rate-limits": _bucket_shows_requests,
    "pending-operations": lambda: _has(_consumer(), "perform_pending_operations"),
    # exact figures
    "apply-async": lambda: _has(_base_pool(), "apply_async", "target", "args", "kwargs"),
    # extras
    "task-counts": _ends_are_told,
    "started-mark": lambda: hasattr(redis.Connection, "send_packed_command"),
    "refusals": _refusals_can_be_minded,
    "pool-close": lambda: _has(_base_pool(), "close") and hasattr(_channel(), "_brpop_read"),
    "restore-once": lambda: _has(_channel().QoS, "restore_unacked_once"),
    "keep-running": _keeps_running_tasks,
    "children": _children_can_be_heard,
    "futures": _futures_are_known,
    "green-wait": lambda: True,  # known once the pool is there
    "idle-connection": _connection_can_be_minded,
}
INFLIGHT = frozenset({"transport-options", "connection-pool", "deliver", "restore-message", "restore-by-tag"})
DRAIN = INFLIGHT | {
    *("brpop-start", "can-consume", "qos", "process-task", "worker-state", "timer-queue", "apply-async"),
    *("pending-operations", "semaphore", "rate-limits"),
}
FOUND_LATER = frozenset({"registry", "ack-emulation"})
"""Lost with the first connection: Redis refuses what own keys need, or the application lets Redis keep nothing."""
EXACT = frozenset({"worker-state", "apply-async", "process-task"})

REPORT_LEVEL, INFLIGHT_LEVEL, DRAIN_LEVEL = "report", "inflight", "drain"
USED_FOR_REPORTS = frozenset({"connection-pool", "worker-state", "timer-queue"})  # read, and nothing replaced
USED_FOR_KEYS = USED_FOR_REPORTS | INFLIGHT | FOUND_LATER | {"started-mark", "refusals"}


def words_of(environ: Mapping[str, str], name: str) -> list[str]:
    """The words of a variable that a comma parts."""
    return [word.strip() for word in environ.get(name, "").split(",")]


def level_of(word: str | None) -> str:
    """The level that the operator asks for: an operator before there were levels says nothing and means all.

    A word that is not known asks for the least: what was not asked for is not touched.
    """
    if not word:
        return DRAIN_LEVEL
    return word if word in (REPORT_LEVEL, INFLIGHT_LEVEL, DRAIN_LEVEL) else REPORT_LEVEL


class Hooks:
    """Which hooks are there, and what that allows at a level; one that the level does not use is never missing."""

    def __init__(self, without: Collection[str] = (), level: str = DRAIN_LEVEL) -> None:
        self.level = level
        self.refused: list[str] = []  # commands and patterns of keys that an ACL would have to allow
        self.missing: list[str] = [
            name for name, check in HOOKS.items() if self._uses(name) and (name in without or not self._holds(check))
        ]

    def _uses(self, name: str) -> bool:
        if self.level == REPORT_LEVEL:
            return name in USED_FOR_REPORTS
        return name in USED_FOR_KEYS or self.level == DRAIN_LEVEL

    @staticmethod
    def _holds(check: Callable[[], bool]) -> bool:
        try:
            return bool(check())
        except Exception:
            return False

    def have(self, *names: str) -> bool:
        """Whether all of these hooks are there, and used."""
        return all(map(self._uses, names)) and not set(names) & set(self.missing)

    def lose(self, name: str) -> None:
        """Note that a hook turned out not to work."""
        if self._uses(name) and name not in self.missing:
            self.missing.append(name)

    def regain(self, name: str) -> None:
        """Note that a hook works after all."""
        if name in self.missing:
            self.missing.remove(name)

    @property
    def inflight(self) -> bool:
        """Whether messages are kept in keys of the worker's own."""
        return self.have(*INFLIGHT, *FOUND_LATER)

    @property
    def drain(self) -> bool:
        """Whether the worker can be drained; `orphans` is lost where nobody hears when prefork's children end."""
        return self.have(*DRAIN, *FOUND_LATER, "orphans")

    def capabilities(self) -> list[str]:
        """What the operator may rely on."""
        allowed = {"inflight": self.inflight, "drain": self.drain, "exact": self.have(*EXACT)}
        return [name for name, holds in allowed.items() if holds]
