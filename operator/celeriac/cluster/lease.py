"""The Lease: of several replicas of the operator exactly one acts.

The algorithm is client-go's leader election (tools/leaderelection). No clock is compared with that of another machine:
a contender watches whether the record changes, and times by its own monotonic clock how long it has not. The holder
counts from the moment before it sent its last successful renewal, which no contender can have seen earlier.
(The election of `kubernetes.aio` compares the record's wall-clock time with its own and cannot create a Lease; that of
the synchronous client blocks a thread. Hence this one.)

Somebody who deletes the Lease object takes this guarantee away until the holder's next renewal (one retry period).
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from celeriac.cluster.client import Api
from celeriac.cluster.errors import ApiError, Conflict, NotFound
from celeriac.cluster.paths import LEASES

log = logging.getLogger(__name__)


class Lease:
    """A coordination.k8s.io/v1 Lease that this process tries to hold.

    duration_seconds        how long a silent holder is waited for; it stands in the record for the contenders
    renew_deadline_seconds  a holder that could not renew for so long holds no more; what it has sent by then has ended
                            before the next one takes over, if requests time out within the difference to `duration`
    retry_seconds           between two tries; as holder each is exactly one write
    identity                of this process alone among all that run. The name of its Pod is right: a container that
                            restarts there takes its own Lease back at once, and its predecessor is certainly gone
    annotations             of the object while this process holds it: for people and for `kubectl celery doctor`;
                            `annotate` adds to them
    acquired, lost          events to wait for; exactly one of them is set
    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        name: str,
        identity: str,
        duration_seconds: int = 15,
        renew_deadline_seconds: float = 10,
        retry_seconds: float = 2,
        clock: Callable[[], float] = time.monotonic,
        annotations: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        _check_periods(duration_seconds, renew_deadline_seconds, retry_seconds, api.connection.timeout_seconds)
        self._api = api
        self._namespace, self._name, self._identity = namespace, name, identity
        self._duration = duration_seconds
        self._renew_deadline = renew_deadline_seconds
        self._retry = retry_seconds
        self._clock = clock
        self._annotations = dict(annotations)
        self._notes: dict[str, str] = {}
        self.acquired, self.lost = asyncio.Event(), asyncio.Event()
        self.lost.set()
        self._renewed_at: float | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._written: dict[str, Any] | None = None  # the object as our last write left it
        self._observed: tuple[dict[str, Any], float] | None = (
            None  # another's record, and since when it has not changed
        )
        self._busy = asyncio.Lock()
        self._stopped, self._wake = asyncio.Event(), asyncio.Event()

    def is_holder(self) -> bool:
        """Whether this process may act at this very moment."""
        return self._renewed_at is not None and self._clock() - self._renewed_at < self._renew_deadline

    def annotation(self, name: str) -> str | None:
        """An annotation of the object as this process, or the holder before it, left it; None while it is not known."""
        if self._written is None or not self.is_holder():
            return None
        return str((self._written["metadata"].get("annotations") or {}).get(name, ""))

    def annotate(self, name: str, text: str) -> None:
        """Let an annotation stand there, by a renewal at once; it is forgotten where the Lease is lost before."""
        self._notes[name] = text
        self._wake.set()

    async def run(self) -> None:
        """Acquire, renew, and after a loss acquire again, until `release` or cancellation."""
        failing = False
        while not self._stopped.is_set():
            try:
                async with self._busy:
                    await self._renew_or_acquire()
                failing = False
            except ApiError as error:
                log.log(logging.DEBUG if failing else logging.WARNING, "lease %s: %s", self, error)
                failing = True
            with contextlib.suppress(TimeoutError):
                # Not wait_for: before Python 3.12 it swallows a cancellation that comes at the moment of the wake-up.
                async with asyncio.timeout(self._retry):
                    await self._wake.wait()
            self._wake.clear()

    async def release(self) -> None:
        """Stop holding, and let the next one take over without waiting; the last act of a shutdown. Never raises."""
        self._stopped.set()
        self._wake.set()
        async with self._busy:
            self._drop()
            try:
                current = await self._api.read(LEASES, self._namespace, self._name)
                if _spec(current).get("holderIdentity") == self._identity:
                    await self._replace(current, holderIdentity=None, leaseDurationSeconds=1, renewTime=_now())
                    log.info("lease %s released", self)
            except ApiError as error:
                log.warning("lease %s not released, the next holder waits %s s: %s", self, self._duration, error)

    def __str__(self) -> str:
        return f"{self._namespace}/{self._name}"

    async def _renew_or_acquire(self) -> None:
        """One try. In the steady state of a holder it is the first write alone."""
        if self._stopped.is_set():
            return
        if self._written is not None:
            with contextlib.suppress(Conflict, NotFound):
                await self._write(self._written)
                return
            self._written = None
        try:
            current = await self._api.read(LEASES, self._namespace, self._name)
        except NotFound:
            await self._create()
            return
        spec = _spec(current)
        if self._may_take(spec):
            with contextlib.suppress(Conflict):  # another one was faster
                await self._write(current)
        else:
            self._drop(f"held by {spec['holderIdentity']}")

    def _may_take(self, spec: dict[str, Any]) -> bool:
        """Whether nobody else holds it: free, ours, or not renewed for its whole duration as we have seen it."""
        if spec.get("holderIdentity") in (None, "", self._identity):
            return True
        now = self._clock()
        if self._observed is None or self._observed[0] != spec:
            self._observed = (spec, now)
        return now - self._observed[1] >= float(spec.get("leaseDurationSeconds", self._duration))

    async def _create(self) -> None:
        """Make the Lease, held by us."""
        sent, now = self._clock(), _now()
        spec = {"holderIdentity": self._identity, "leaseDurationSeconds": self._duration, "leaseTransitions": 0}
        body = {
            "apiVersion": LEASES.api_version,
            "kind": "Lease",
            "metadata": {
                "namespace": self._namespace,
                "name": self._name,
                "annotations": self._annotations | self._notes,
            },
            "spec": {**spec, "acquireTime": now, "renewTime": now},
        }
        with contextlib.suppress(Conflict):  # another one was faster
            self._written = await self._api.create(LEASES, self._namespace, body)
            self._hold(sent)

    async def _write(self, current: dict[str, Any]) -> None:
        """Renew or take over, on condition that the record is still the one that we know (resourceVersion)."""
        sent, now, spec = self._clock(), _now(), _spec(current)
        changes = {"holderIdentity": self._identity, "leaseDurationSeconds": self._duration, "renewTime": now}
        if spec.get("holderIdentity") != self._identity:
            changes |= {"acquireTime": now, "leaseTransitions": spec.get("leaseTransitions", 0) + 1}
        self._written = await self._replace(current, **changes)
        self._hold(sent)

    async def _replace(self, current: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """Write the record; its resourceVersion is in the body."""
        metadata = current["metadata"]
        metadata = {**metadata, "annotations": (metadata.get("annotations") or {}) | self._annotations | self._notes}
        body = {**current, "metadata": metadata, "spec": {**_spec(current), **changes}}
        return await self._api.replace(LEASES, self._namespace, self._name, body)

    def _hold(self, sent: float) -> None:
        """We hold it since `sent`, on our clock, and unless it is renewed until the renew deadline."""
        if self._stopped.is_set():
            return
        self._renewed_at = sent
        if self._expiry is not None:
            self._expiry.cancel()
        remaining = sent + self._renew_deadline - self._clock()
        loop = asyncio.get_running_loop()
        self._expiry = loop.call_later(remaining, self._drop, "not renewed before the renew deadline")
        if not self.acquired.is_set():
            log.info("lease %s acquired", self)
            self.lost.clear()
            self.acquired.set()

    def _drop(self, why: str = "") -> None:
        """We do not hold it; `why` where that is not our own will: what is to be noted is another's business then."""
        self._renewed_at = None
        if why:
            self._notes.clear()
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if self.acquired.is_set():
            if why:
                log.warning("lease %s lost: %s", self, why)
            self.acquired.clear()
            self.lost.set()


def _spec(lease: dict[str, Any]) -> dict[str, Any]:
    """The record of a Lease; the API allows one that has none."""
    return lease.get("spec") or {}


def _now() -> str:
    """A MicroTime for people who read the record; no decision is made from it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _check_periods(duration: float, renew_deadline: float, retry: float, timeout: float) -> None:
    """Raise ValueError where two holders could act at once, or a single lost request would lose the Lease."""
    if not retry < renew_deadline < duration:
        periods = f"retry ({retry} s) < renew deadline ({renew_deadline} s) < duration ({duration} s)"
        raise ValueError(f"a Lease needs {periods}")
    if timeout >= duration - renew_deadline:
        raise ValueError(
            f"the request timeout ({timeout} s) must be less than the Lease's duration ({duration} s) minus its renew "
            f"deadline ({renew_deadline} s), else a late write could meet the next holder"
        )
