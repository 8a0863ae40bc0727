"""Kubernetes events: what `kubectl describe cwp` shows, without flooding the API server.

As in client-go an event that repeats within a window is counted in one object, and each object that is talked about
has a token bucket; unlike there it has one for each type, so that a lively pool's scalings never hide its Warnings. An
event is a courtesy: where it cannot be written, the operator goes on.

They are written as core/v1: `kubectl describe` sorts by lastTimestamp, which events.k8s.io/v1 does not let a writer
set (validation.ValidateEventCreate), and leaves those of one second as they are listed: by name, so that names ascend.
"""

import asyncio
import logging
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from celeriac.api.names import GROUP
from celeriac.cluster.client import Api
from celeriac.cluster.errors import ApiError, NotFound
from celeriac.cluster.paths import EVENTS
from celeriac.cluster.text import bounded_bytes
from celeriac.cluster.times import timestamp

log = logging.getLogger(__name__)

REPORTING_CONTROLLER: Final = f"{GROUP}/operator"
NOTE_SIZE: Final = 1024  # bytes, by the API's validation
NAME_LENGTH: Final = 230  # characters of the object's name in the event's, which may have 253
WINDOW_SECONDS: Final = 600.0  # client-go's aggregation interval
BURST: Final = 25  # events of one type on one object at once; client-go's, there of all types
REFILL_SECONDS: Final = 300.0  # per further event; client-go's
REMEMBERED: Final = 4096  # series, and buckets; client-go's
IN_FLIGHT: Final = 100  # events being written; above it they are dropped

K = TypeVar("K")
V = TypeVar("V")


@dataclass(slots=True)
class _Series:
    """One event that may repeat; `name` is None while its object is being created."""

    last: float
    last_observed: datetime
    count: int = 1
    name: str | None = None


@dataclass(slots=True)
class _Bucket:
    """The events of one type that may still be written about one object."""

    tokens: float
    at: float


class EventRecorder:
    """Writes events as one controller; `instance` is the name of the operator's Pod, by default the host's.

    `emit` returns at once and the event is written beside the caller; `settle` waits for what is under way.
    """

    def __init__(self, api: Api, instance: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._instance = instance or socket.gethostname()
        self._clock = clock
        self._series: OrderedDict[tuple[str, ...], _Series] = OrderedDict()
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()
        self._writing: set[asyncio.Task[None]] = set()
        self._numbered = 0

    def emit(
        self,
        regarding: Mapping[str, str],
        type: str,
        reason: str,
        message: str,
        action: str = "Reconcile",
        *,
        dedupe: str | None = None,
    ) -> None:
        """Tell what happened to `regarding` (apiVersion, kind, namespace, name, uid). Never raises ApiError.

        `type` is Normal or Warning; `reason` and `action` are CamelCase: why, and what was tried. Events of the same
        object, type, reason, action and `dedupe` (by default the message) are one series: the first message stays,
        the count rises.
        """
        key = (regarding["uid"], type, reason, action, message if dedupe is None else dedupe)
        now, observed = self._clock(), datetime.now(UTC)
        series = self._series.get(key)
        if series is not None and now - series.last < WINDOW_SECONDS:
            series.count, series.last, series.last_observed = series.count + 1, now, observed
            if series.name is None or not self._may_write(regarding["uid"], type, now):
                return
        elif self._may_write(regarding["uid"], type, now):
            series = _Series(now, observed)
        else:
            log.debug("event dropped, too many on %s %s: %s", regarding["kind"], regarding["name"], message)
            return
        _remember(self._series, key, series)
        event = {"type": type, "reason": reason, "action": action, "message": bounded_bytes(message, NOTE_SIZE)}
        self._numbered = max(self._numbered + 1, time.time_ns())
        task = asyncio.get_running_loop().create_task(self._tell(key, series, dict(regarding), event, self._numbered))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def settle(self, timeout_seconds: float = 2.0) -> None:
        """Wait for the events under way; give up those that take longer."""
        if self._writing:
            _, late = await asyncio.wait(self._writing, timeout=timeout_seconds)
            for task in late:
                task.cancel()

    async def _tell(
        self, key: tuple[str, ...], series: _Series, regarding: dict[str, str], event: dict[str, Any], number: int
    ) -> None:
        """Write one event; a failure is worth a line in the log."""
        try:
            await self._write(series, regarding, event, number)
        except ApiError as error:
            log.warning(
                "event %s on %s %s not written: %s", event["reason"], regarding["kind"], regarding["name"], error
            )
        finally:
            if series.name is None:
                self._series.pop(key, None)

    async def _write(self, series: _Series, regarding: dict[str, str], event: dict[str, Any], number: int) -> None:
        """Count one more in the object of the series; create it where it is new, or has expired on the server."""
        observed, namespace = series.last_observed, regarding["namespace"]
        if series.name is not None:
            patch = {
                "count": series.count,
                "lastTimestamp": timestamp(observed),
                "series": {"count": series.count, "lastObservedTime": _micro_time(observed)},
            }
            try:
                await self._api.merge_patch(EVENTS, namespace, series.name, patch, manager=REPORTING_CONTROLLER)
                return
            except NotFound:
                series.name, series.count = None, 1
        body: dict[str, Any] = {
            "apiVersion": EVENTS.api_version,
            "kind": "Event",
            "metadata": {"name": f"{regarding['name'][:NAME_LENGTH]}.{number:016x}", "namespace": namespace},
            "involvedObject": regarding,
            **event,
            "count": 1,
            "firstTimestamp": timestamp(observed),
            "lastTimestamp": timestamp(observed),
            "eventTime": _micro_time(observed),
            "reportingComponent": REPORTING_CONTROLLER,
            "reportingInstance": self._instance,
        }
        created = await self._api.create(EVENTS, namespace, body)
        series.name = created["metadata"]["name"]

    def _may_write(self, uid: str, type: str, now: float) -> bool:
        """Take a token of the object's bucket for the type; False where it is empty, or too many are being written."""
        bucket = self._buckets.get((uid, type)) or _Bucket(tokens=BURST, at=now)
        bucket.tokens = min(BURST, bucket.tokens + (now - bucket.at) / REFILL_SECONDS)
        bucket.at = now
        _remember(self._buckets, (uid, type), bucket)
        if bucket.tokens < 1 or len(self._writing) >= IN_FLIGHT:
            return False
        bucket.tokens -= 1
        return True


def _micro_time(moment: datetime) -> str:
    """A metav1.MicroTime."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _remember(memory: OrderedDict[K, V], key: K, value: V) -> None:
    """Put an entry at the young end, and forget the oldest above the bound."""
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > REMEMBERED:
        memory.popitem(last=False)
