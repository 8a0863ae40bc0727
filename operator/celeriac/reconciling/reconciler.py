"""One pool -> its children by server-side apply, then its status. Events only put keys in line for this."""

import logging
import time
from collections.abc import Callable
from typing import Final

from celeriac.api.authority import Authority
from celeriac.api.keys import PoolKey
from celeriac.autoscaling.scale_writer import Refusals
from celeriac.autoscaling.tick import Autoscaler
from celeriac.brokers.address import BrokerAddress
from celeriac.cluster.client import Api
from celeriac.cluster.errors import ApiError, NotFound, Unavailable
from celeriac.cluster.paths import CELERY_WORKER_POOLS
from celeriac.cluster.records import DeploymentRecord
from celeriac.connecting.credentials import Credentials
from celeriac.pool.model import WorkerPool
from celeriac.reconciling.applied import AppliedBook, Source, Task, Work, server_error
from celeriac.reconciling.applier import Applier
from celeriac.reconciling.missing_mounts import MissingMounts
from celeriac.reporting.status_writer import StatusWriter
from celeriac.reporting.view import Condition, View
from celeriac.telemetry.metrics import Metrics
from celeriac.watching.store import KnownPool, Store
from celeriac.watching.workqueue import BACKOFF_LAST_SECONDS, WorkQueue

log = logging.getLogger(__name__)

AGAIN_UNAVAILABLE_SECONDS = 5.0
"""The longest pause while the API server is not to be had: it may come back at any moment, and all wait for it."""


GIVES_WAY_SECONDS: Final = 1.0
GIVES_WAY_FOR_SECONDS: Final = 10.0
"""While many pools wait to be scaled, others' children and statuses take no time from that, but each its turn."""


class Reconciler:
    """Brings the Deployment and the status of each pool in line with its spec, while it has the authority."""

    def __init__(
        self,
        *,
        api: Api,
        store: Store,
        credentials: Credentials,
        autoscaler: Autoscaler,
        refusals: Refusals,
        applier: Applier,
        applied: AppliedBook,
        statuses: StatusWriter,
        queue: WorkQueue[PoolKey],
        metrics: Metrics,
        authority: Authority,
        crowded: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`crowded` tells whether many pools are being scaled just now."""
        self._api = api
        self._store = store
        self._credentials = credentials
        self._autoscaler = autoscaler
        self._refusals = refusals
        self._applier = applier
        self._applied = applied
        self._statuses = statuses
        self._queue = queue
        self._metrics = metrics
        self._authority = authority
        self._crowded = crowded
        self._clock = clock
        self._mounts = MissingMounts(api)
        self._gave_way: dict[PoolKey, float] = {}

    async def run(self) -> None:
        """Reconcile what is in line for ever; start several of these for concurrency."""
        await self._queue.run(self.reconcile, self._failed)

    async def reconcile(self, key: PoolKey) -> None:
        """Reconcile one pool. Raises ApiError where the API server is not to be had: the queue tries again."""
        known = self._store.pools.get(key)
        if known is None:
            self._forget(key)
            return
        if not self._authority.may_act or known.deleting or self._gives_way(key):
            return
        started = time.monotonic()
        outcome = "error"
        try:
            await self._reconcile(known)
            outcome = "success"
        finally:
            self._metrics.reconcile(time.monotonic() - started, outcome)
            self._metrics.workqueue(len(self._queue))

    def _gives_way(self, key: PoolKey) -> bool:
        """Whether the pool comes again later, since others have to be scaled first."""
        now = self._clock()
        if not self._crowded() or now - self._gave_way.setdefault(key, now) > GIVES_WAY_FOR_SECONDS:
            self._gave_way.pop(key, None)
            return False
        self._queue.add_after(key, GIVES_WAY_SECONDS)
        return True

    def _failed(self, key: PoolKey, error: Exception) -> float:
        """Tell it; the queue goes on with the others and comes back to this one, after so many seconds at most."""
        if isinstance(error, ApiError):
            log.warning("pool %s: %s; it is tried again", key, error)
        else:
            log.error("pool %s: not reconciled, by a fault of the operator; it is tried again", key, exc_info=error)
        return AGAIN_UNAVAILABLE_SECONDS if isinstance(error, Unavailable) else BACKOFF_LAST_SECONDS

    async def _reconcile(self, known: KnownPool) -> None:
        failure: Unavailable | None = None
        try:
            refusal = await self._children(known, known.spec) if isinstance(known.spec, WorkerPool) else None
        except Unavailable as error:
            if not error.from_server:
                raise
            refusal, failure = server_error(error), error
        await self._write_status(known, refusal)
        if failure is not None:
            raise failure

    async def _write_status(self, known: KnownPool, refusal: Condition | None) -> None:
        outlook = self._autoscaler.outlook(known)
        if isinstance(known.spec, WorkerPool) and outlook is None:
            return  # the first reading brings it back; until then the last leader's status is the best there is
        deployment = self._own_deployment(known)
        if outlook is not None and outlook.outcome is None and deployment is not None:
            return  # nor is a Deployment told of before the next step has seen it, which brings it back too
        pods = self._store.pods(known.key)
        view = View(
            known=known,
            deployment=deployment,
            pods=pods,
            missing=await self._mounts.of(known.spec, pods) if isinstance(known.spec, WorkerPool) else (),
            outcome=outlook.outcome if outlook else None,
            broker=outlook.doubt if outlook else None,
            misspelled=outlook.misspelled if outlook else None,
            uncounted=outlook.uncounted if outlook else None,
            refusal=refusal,
            scale_refusal=self._refusals.message(known.key),
            rival=self._store.rivals.of(known.key),
        )
        self._queue.add_after(known.key, await self._statuses.write(view))

    def _forget(self, key: PoolKey) -> None:
        """The garbage collector removes the children of a deleted pool, by their owner reference."""
        self._applied.forget(key)
        self._gave_way.pop(key, None)
        self._mounts.forget(key)
        self._queue.forget(key)
        self._metrics.forget(key)
        self._statuses.book.forget(key)

    def _own_deployment(self, known: KnownPool) -> DeploymentRecord | None:
        deployment = self._store.deployments.get(known.key)
        return deployment if deployment is not None and deployment.controller_uid == known.uid else None

    async def _children(self, known: KnownPool, pool: WorkerPool) -> Condition | None:
        """Apply what is not what it should be; returns why it was refused."""
        live, pods = self._own_deployment(known), self._store.pods(known.key)
        source = self._source(pool, live)
        if source is None:
            return None
        work = self._applied.work(pool, source, live, pods, time.monotonic())
        work = await self._carry_out(known, pool, source, live, work)
        if work.again_seconds is not None:
            self._queue.add_after(known.key, work.again_seconds)
        return work.refusal

    def _source(self, pool: WorkerPool, live: DeploymentRecord | None) -> Source | None:
        """What the manifest is made from; None while it cannot be known.

        With broker.tls the worker's URL is made from the Secret's: without it no Deployment can be right. Secrets that
        cannot be read change nothing: their last digest stays, that of the Deployment after a restart.
        """
        if pool.broker.url_from is None and pool.broker.tls is None:
            return Source.of(pool, url_has_query=False)
        address = self._credentials.of_pool(pool)
        if address is None and live is None:
            return None
        digest = live.secret_digest if live is not None else None
        if pool.rollout_on_secret_change and isinstance(address, BrokerAddress):
            digest = self._credentials.digest_of_pool(pool)
        if pool.broker.tls is None:
            return Source.of(pool, url_has_query=False, secret_digest=digest)
        if not isinstance(address, BrokerAddress):
            return None
        return Source.of(pool, url_has_query="?" in address.url, secret_digest=digest)

    async def _carry_out(
        self, known: KnownPool, pool: WorkerPool, source: Source, live: DeploymentRecord | None, work: Work
    ) -> Work:
        if work.task is Task.LOOK:
            return await self._applier.look_for_agent(pool, source, live, work)
        if work.task in (Task.APPLY, Task.CREATE) or (work.task is Task.RECREATE and await self._still_exists(known)):
            return await self._applier.apply(pool, source, live)
        return work

    async def _still_exists(self, known: KnownPool) -> bool:
        """Ask before a Deployment is created anew: with an owner that is gone it would be removed again, for ever.

        A watch can miss the deletion of a pool; it is made up for here. (The first Deployment of such a pool goes the
        same way once, by the garbage collector.)
        """
        try:
            body = await self._api.read(CELERY_WORKER_POOLS, known.key.namespace, known.key.name)
        except NotFound:
            self._store.pools.drop(known.key)
            self._queue.add(known.key)
            return False
        return bool(body["metadata"]["uid"] == known.uid)
