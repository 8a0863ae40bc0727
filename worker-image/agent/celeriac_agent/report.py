"""What the operator is told once a second."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import celery
import kombu
import redis
from celery.worker import state as worker_state

from .celery_worker import CeleryWorker, EtaCount
from .channel import TaskChannel
from .counters import Counters
from .drain import Drain
from .hooks import Hooks
from .identity import Identity
from .lost_children import LONGEST_NAME, NAMED, lost_with_child
from .proc import OwnGroup, init_of, read_status, sigterm_arrives
from .refusals import Refusals
from .settings import TransportSettings
from .slots import Slots
from .tally import Tally
from .unwritten import Unwritten

REPORT_VERSION = 1  # as long as fields are only added


class Report:
    """Makes one report after the other; `drained` depends on what the last one brought back."""

    def __init__(
        self,
        identity: Identity,
        settings: TransportSettings,
        worker: CeleryWorker,
        hooks: Hooks,
        slots: Slots,
        drain: Drain,
        counters: Counters,
        refusals: Refusals,
        unwritten: Unwritten,
        tally: Tally,
        *,
        limits_prefetch: bool,
    ) -> None:
        self._identity, self._settings = identity, settings
        self._worker, self._hooks = worker, hooks
        self._slots, self._drain, self._counters = slots, drain, counters
        self._refusals, self._unwritten, self._tally = refusals, unwritten, tally
        self._limits_prefetch = limits_prefetch
        self.counter = 0
        self.held: int | None = None  # HLEN of the own hash, by the last beat
        self.was_quiet = False
        self._waiting_for_eta = EtaCount()
        self._fixed: dict[str, Any] = {}
        self._group = OwnGroup()

    def describe(self, channel: TaskChannel) -> None:
        """Read what stays the same while a connection lasts."""
        worker = self._worker
        limited = self._limits_prefetch or worker.limits_prefetch()
        at_risk = lost_with_child(worker.app) if worker.is_prefork() else []
        self._fixed = {
            "v": REPORT_VERSION,
            "level": self._hooks.level,
            "process": self._identity.process,
            "pod": self._identity.pod,
            "celery": celery.__version__,
            "kombu": kombu.__version__,
            "redis": redis.__version__,
            "python": ".".join(map(str, sys.version_info[:3])),
            "pool": worker.pool_class(),
            "broker": without_credentials(channel.consumer.connection.as_uri()),
            "prefix": self._settings.keys.prefix,
            "separator": self._settings.keys.separator,
            "prioritySteps": list(self._settings.keys.steps),
            "timeLimit": worker.time_limit(),
            "prefetch": 0 if limited else worker.prefetch_multiplier(),
            "acksLate": worker.acks_late(),
            "rejectOnWorkerLost": bool(worker.app.conf.task_reject_on_worker_lost),
            "lostWithChild": len(at_risk),
            "tasksLostWithChild": [name[:LONGEST_NAME] for name in at_risk[:NAMED]],
            "visibilityTimeout": self._settings.visibility_timeout,
            "signals": sigterm_arrives(os.getpid(), read_status),
            "init": init_of(os.getpid()),
        }

    def _signals(self) -> bool | None:
        """Whether SIGTERM comes to this process, and to it alone: nobody signals the group of a PID 1."""
        arrives: bool | None = self._fixed.get("signals")
        return arrives and (os.getpid() == 1 or not self._group.holds(self._worker.children(), time.monotonic()))

    def state(self, quiet: bool) -> str:
        """The worker's state; `drained` needs an empty hash, read after everything was quiet, and quiet still."""
        if self._worker.phase != "consuming":
            return self._worker.phase
        if self._worker.is_told_to_stop():
            return "stopping"
        if not self._drain.token:
            return "consuming"
        return "drained" if quiet and self.was_quiet and self.held == 0 else "draining"

    def make(self, channel: TaskChannel | None, quiet: bool) -> dict[str, Any]:
        """The next report."""
        counters = self._counters
        self.counter += 1
        active, reserved = len(worker_state.active_requests), len(worker_state.reserved_requests)
        buckets = list(channel.consumer.task_buckets.values()) if channel else []
        limited = sum(len(getattr(bucket, "contents", ())) for bucket in buckets)
        return {
            **self._fixed,
            "signals": self._signals(),
            "n": self.counter,
            "state": self.state(quiet),
            "queues": self._worker.queues(),  # remote control may add and cancel consumers
            "slots": self._worker.slots(),
            "token": self._drain.token,
            "active": active,
            "reserved": max(reserved - active, 0) + limited + self._unwritten.in_hand(),
            "limited": limited,
            "scheduled": self._waiting_for_eta.of(channel.consumer.timer) if channel else 0,
            "unacked": self.held if self._hooks.inflight else None,
            "processed": max(sum(worker_state.total_count.values()) - active, 0),
            "busy": round(self._slots.busy_seconds(), 3),
            "capabilities": self._hooks.capabilities(),
            "missing": list(self._hooks.missing),
            "refused": list(self._hooks.refused),
            "refusal": self._refusals.code,
            "delivered": counters.delivered,
            "givenBack": counters.given_back,
            "restored": counters.restored,
            "dead": counters.dead,
            "errors": counters.errors,
            "counted": self._tally.tries,
        }


def without_credentials(address: str) -> str:
    """A broker's address without user, password and query; of several, joined by `;`, the first."""
    first = address.split(";", 1)[0].split("?", 1)[0]
    scheme, found, rest = first.partition("://")
    if not found:
        scheme, rest = "redis", first
    return f"{scheme}://{rest.rsplit('@', 1)[-1]}"
