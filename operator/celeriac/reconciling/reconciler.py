"""One pool -> its agent's ConfigMap, its Deployment by server-side apply, its status.

Events only put keys in line for this.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from celeriac.api.authority import Authority
from celeriac.api.keys import PoolKey
from celeriac.api.reasons import Reason
from celeriac.autoscaling.outcome import Outcome
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.cluster.agent_config import ensure_agent_config, prune_agent_configs
from celeriac.cluster.client import Api
from celeriac.cluster.deployments import ensure_deployment
from celeriac.cluster.errors import ApiError, Forbidden, NameTaken, NotFound, StillGoing
from celeriac.cluster.paths import CELERY_WORKER_POOLS
from celeriac.cluster.records import DeploymentRecord
from celeriac.connecting.credentials import Credentials
from celeriac.pool.model import WorkerPool
from celeriac.reporting.status import Condition, View
from celeriac.reporting.status_writer import Reporter
from celeriac.resources.agent import build_agent_config
from celeriac.resources.deployment import build_deployment
from celeriac.telemetry.metrics import Metrics
from celeriac.watching.store import KnownPool, Store
from celeriac.watching.workqueue import WorkQueue

log = logging.getLogger(__name__)

REFUSALS = {HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY}
"""Answers about the manifest itself (a 400 is a field of the wrong type): trying again at once changes nothing."""
STILL_GOING_SECONDS = 2.0
"""A pool that was deleted and made anew waits for the garbage collector, looking this often."""
REFUSED_RETRY_SECONDS = 15.0
"""A refused Deployment is offered again after this long: a quota or a policy may have been mended meanwhile."""
AGENT_SECONDS = 5.0
"""While a Pod waits to be started, its agent's ConfigMap is looked for this often: somebody may have deleted it."""


class Autoscaling(Protocol):
    """What the tick knows of a pool (`celeriac.autoscale.Autoscaler`)."""

    def has_read(self, known: KnownPool) -> bool:
        """Whether its broker has been tried."""

    def outcome(self, known: KnownPool) -> Outcome | None:
        """What the last tick found and decided."""

    def doubt(self, known: KnownPool) -> BrokerDoubt | None:
        """Why the broker cannot be read, if so."""


@dataclass(frozen=True, slots=True)
class _Source:
    """All that a Deployment's manifest is made from: the same source gives the same manifest."""

    uid: str
    generation: int
    url_has_query: bool


@dataclass(frozen=True, slots=True)
class _Applied:
    """What was applied last.

    result    fingerprint of what the API server made of it: while it stands, there is nothing to write
    refusal   why it was refused instead
    retry_at  when to offer the same again after a refusal (monotonic seconds)
    """

    source: _Source
    result: str | None = None
    refusal: Condition | None = None
    retry_at: float = 0.0


class Reconciler:
    """Brings the Deployment and the status of each pool in line with its spec."""

    def __init__(
        self,
        *,
        api: Api,
        agent: Mapping[str, str],
        store: Store,
        credentials: Credentials,
        autoscaling: Autoscaling,
        scale_refusal: Callable[[PoolKey], str | None],
        reporter: Reporter,
        queue: WorkQueue[PoolKey],
        metrics: Metrics,
        authority: Authority,
    ) -> None:
        """`agent` has the texts of the agent's files by their names."""
        self._api = api
        self._agent = agent
        self._store = store
        self._credentials = credentials
        self._autoscaling = autoscaling
        self._scale_refusal = scale_refusal
        self._reporter = reporter
        self._queue = queue
        self._metrics = metrics
        self._authority = authority
        self._applied: dict[PoolKey, _Applied] = {}
        self._agent_looked_for: dict[PoolKey, float] = {}

    async def reconcile(self, key: PoolKey) -> None:
        """Reconcile one pool. Raises ApiError where the API server is not to be had: the queue tries again."""
        if self._store.pools.get(key) is None:
            self._forget(key)
            return
        if not self._authority.may_act:
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
        if known is None or known.deleting:
            return
        refusal = None
        if isinstance(known.spec, WorkerPool):
            refusal = await self._apply(known, known.spec)
            if not self._autoscaling.has_read(known):
                return  # the first reading brings it back; until then the last leader's status is the best there is
        view = View(
            known=known,
            deployment=self._own_deployment(known),
            pods=self._store.pods(key),
            outcome=self._autoscaling.outcome(known),
            broker=self._autoscaling.doubt(known),
            refusal=refusal,
            scale_refusal=self._scale_refusal(key),
        )
        await self._reporter.report(view)

    def _forget(self, key: PoolKey) -> None:
        """The garbage collector removes the children of a deleted pool, by their owner reference."""
        self._applied.pop(key, None)
        self._agent_looked_for.pop(key, None)
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
            address = self._credentials.of_pool(pool)
            if not isinstance(address, BrokerAddress):
                return None  # the worker's URL is made from the Secret's: without it no Deployment can be right
            url_has_query = "?" in address.url
        source = _Source(pool.uid, pool.generation, url_has_query)
        live = self._own_deployment(known)
        applied = self._applied.get(pool.key)
        if applied is not None and applied.source == source:
            if live is not None and applied.result == live.fingerprint:
                return await self._keep_agent(pool, source)
            if applied.refusal is not None and time.monotonic() < applied.retry_at:
                return applied.refusal
        if live is None and not await self._still_exists(known):
            return None
        return await self._apply_anew(pool, source)

    async def _still_exists(self, known: KnownPool) -> bool:
        """Ask before a Deployment is created: with an owner that is gone the garbage collector would remove it again.

        A watch can miss the deletion of a pool; it is made up for here.
        """
        try:
            body = await self._api.read(CELERY_WORKER_POOLS, known.key.namespace, known.key.name)
        except NotFound:
            self._store.pools.drop(known.key)
            self._queue.add(known.key)
            return False
        return bool(body["metadata"]["uid"] == known.uid)

    async def _keep_agent(self, pool: WorkerPool, source: _Source) -> Condition | None:
        """A Pod without the ConfigMap that it mounts would wait for ever: make it anew if it is gone."""
        waiting = any(pod.phase == "Pending" and not pod.terminating for pod in self._store.pods(pool.key))
        if not pool.agent or not waiting:
            return None
        now = time.monotonic()
        if now < self._agent_looked_for.get(pool.key, 0.0) + AGENT_SECONDS:
            return None
        self._agent_looked_for[pool.key] = now
        self._queue.add_after(pool.key, AGENT_SECONDS)
        try:
            await self._ensure_agent(pool)
        except ApiError:
            return await self._apply_anew(pool, source)  # which says what is in the way
        return None

    async def _ensure_agent(self, pool: WorkerPool) -> None:
        await ensure_agent_config(self._api, pool.uid, build_agent_config(pool, self._agent))

    async def _apply_anew(self, pool: WorkerPool, source: _Source) -> Condition | None:
        manifest = build_deployment(pool, agent=self._agent, url_has_query=source.url_has_query)
        try:
            if pool.agent:
                await self._ensure_agent(pool)
            body = await ensure_deployment(self._api, pool.uid, manifest)
        except StillGoing:
            self._queue.add_after(pool.key, STILL_GOING_SECONDS)
            return None
        except ApiError as error:
            if not isinstance(error, NameTaken) and error.status not in REFUSALS:
                raise
            refusal = _refusal(error)
            retry_at = time.monotonic() + REFUSED_RETRY_SECONDS
            self._applied[pool.key] = _Applied(source, refusal=refusal, retry_at=retry_at)
            self._queue.add_after(pool.key, REFUSED_RETRY_SECONDS)
            return refusal
        self._store.deployment_event(body, deleted=False)
        self._applied[pool.key] = _Applied(source, result=DeploymentRecord.from_body(body).fingerprint)
        await self._prune(pool)
        return None

    async def _prune(self, pool: WorkerPool) -> None:
        """Remove the agents that no Pod mounts any more; what stays behind goes with the pool."""
        try:
            await prune_agent_configs(self._api, pool.uid, build_agent_config(pool, self._agent))
        except ApiError as error:
            log.warning("pool %s: an old agent's ConfigMap stays for now: %s", pool.key, error)


def _refusal(error: ApiError) -> Condition:
    if isinstance(error, NameTaken):
        return Condition.of("Ready", False, Reason.NAME_TAKEN, error.message)
    cure = "mend what forbids it" if isinstance(error, Forbidden) else "correct spec.template"
    message = f"the API server refused the Deployment: {error.message}; {cure}"
    return Condition.of("Ready", False, Reason.APPLY_FAILED, message)
