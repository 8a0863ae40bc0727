"""One pool -> its Deployment by server-side apply -> its status. Events only put keys in line for this."""

import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

from celeriac import reasons
from celeriac.broker_access import BrokerAccess
from celeriac.brokers.types import BrokerAddress, BrokerDoubt
from celeriac.cluster.client import Api
from celeriac.cluster.deployments import ensure_deployment
from celeriac.cluster.errors import ApiError, Forbidden, NameTaken
from celeriac.cluster.records import DeploymentRecord
from celeriac.metrics import Metrics
from celeriac.pool.model import PoolKey, WorkerPool
from celeriac.report import Reporter
from celeriac.resources.deployment import build_deployment
from celeriac.status import Condition, Outcome, View
from celeriac.store import KnownPool, Store
from celeriac.workqueue import WorkQueue

log = logging.getLogger(__name__)

REFUSALS = {HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY}
"""Answers about the manifest itself (a 400 is a field of the wrong type): trying again at once changes nothing."""
REFUSED_RETRY_SECONDS = 15.0
"""A refused Deployment is offered again after this long: a quota or a policy may have been mended meanwhile."""


class Autoscaling(Protocol):
    """What the tick knows of a pool (`celeriac.autoscale.Autoscaler`)."""

    def outcome(self, key: PoolKey) -> Outcome | None:
        """What the last tick found and decided."""

    def doubt(self, key: PoolKey) -> BrokerDoubt | None:
        """Why the broker cannot be read, if so."""


@dataclass(frozen=True, slots=True)
class _Applied:
    """What was applied last, and what the API server made of it: while both stand, there is nothing to write."""

    manifest: str
    result: str


class Reconciler:
    """Brings the Deployment and the status of each pool in line with its spec."""

    def __init__(
        self,
        *,
        api: Api,
        store: Store,
        access: BrokerAccess,
        autoscaling: Autoscaling,
        reporter: Reporter,
        queue: WorkQueue[PoolKey],
        metrics: Metrics,
        may_act: Callable[[], bool],
    ) -> None:
        self._api = api
        self._store = store
        self._access = access
        self._autoscaling = autoscaling
        self._reporter = reporter
        self._queue = queue
        self._metrics = metrics
        self._may_act = may_act
        self._applied: dict[PoolKey, _Applied] = {}

    async def reconcile(self, key: PoolKey) -> None:
        """Reconcile one pool. Raises ApiError where the API server is not to be had: the queue tries again."""
        if not self._may_act():
            return
        started = time.monotonic()
        outcome = "error"
        try:
            await self._reconcile(key)
            outcome = "success"
        finally:
            self._metrics.reconcile(time.monotonic() - started, outcome)
            self._metrics.workqueue(len(self._queue))

    async def _reconcile(self, key: PoolKey) -> None:
        known = self._store.pools.get(key)
        if known is None:
            self._forget(key)
            return
        if known.deleting:
            return
        refusal = None
        if isinstance(known.spec, WorkerPool):
            refusal = await self._apply(known, known.spec)
        view = View(
            known=known,
            deployment=self._own_deployment(known),
            pods=self._store.pods(key),
            outcome=self._autoscaling.outcome(key),
            broker=self._autoscaling.doubt(key),
            refusal=refusal,
        )
        await self._reporter.report(view)

    def _forget(self, key: PoolKey) -> None:
        """The garbage collector removes the children of a deleted pool, by their owner reference."""
        self._applied.pop(key, None)
        self._queue.forget(key)
        self._metrics.forget(key)
        self._reporter.forget(key)

    def _own_deployment(self, known: KnownPool) -> DeploymentRecord | None:
        deployment = self._store.deployments.get(known.key)
        return deployment if deployment is not None and deployment.controller_uid == known.uid else None

    async def _apply(self, known: KnownPool, pool: WorkerPool) -> Condition | None:
        """Apply the Deployment where it is not what it should be; returns why it was refused."""
        url_has_query = False
        if pool.broker.tls is not None:
            address = self._access.lookup(pool)
            if not isinstance(address, BrokerAddress):
                return None  # the worker's URL is made from the Secret's: without it no Deployment can be right
            url_has_query = "?" in address.url
        manifest = build_deployment(pool, url_has_query=url_has_query)
        wanted = _digest(manifest)
        live = self._own_deployment(known)
        if live is not None and self._applied.get(pool.key) == _Applied(wanted, live.fingerprint):
            return None
        try:
            body = await ensure_deployment(self._api, pool.uid, manifest)
        except ApiError as error:
            if not isinstance(error, NameTaken) and error.status not in REFUSALS:
                raise
            self._queue.add_after(pool.key, REFUSED_RETRY_SECONDS)
            return _refusal(error)
        self._store.deployment_event(body, deleted=False)
        self._applied[pool.key] = _Applied(wanted, DeploymentRecord.from_body(body).fingerprint)
        return None


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _refusal(error: ApiError) -> Condition:
    if isinstance(error, NameTaken):
        return Condition.of("Ready", False, reasons.NAME_TAKEN, error.message)
    cure = "mend what forbids it" if isinstance(error, Forbidden) else "correct spec.template"
    message = f"the API server refused the Deployment: {error.message}; {cure}"
    return Condition.of("Ready", False, reasons.APPLY_FAILED, message)
