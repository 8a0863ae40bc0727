"""Brings a pool's children to the API server: the agent's ConfigMap first, then the Deployment that mounts it."""

import time
from collections.abc import Mapping

from celeriac.cluster.agent_config import AgentConfigs
from celeriac.cluster.client import Api
from celeriac.cluster.deployments import create_deployment, update_deployment
from celeriac.cluster.errors import ApiError
from celeriac.cluster.records import DeploymentRecord
from celeriac.pool.model import WorkerPool
from celeriac.reconciling.applied import AppliedBook, Source, Task, Work
from celeriac.resources.agent import build_agent_config
from celeriac.resources.deployment import build_deployment
from celeriac.watching.store import Store


class Applier:
    """Applies what is made from a Source, and notes in the book what became of it."""

    def __init__(
        self, api: Api, configs: AgentConfigs, agent: Mapping[str, str], store: Store, book: AppliedBook
    ) -> None:
        """`agent` has the texts of the agent's files by their names."""
        self._api = api
        self._configs = configs
        self._agent = agent
        self._store = store
        self._book = book

    async def apply(self, pool: WorkerPool, source: Source, live: DeploymentRecord | None) -> Work:
        """Apply the children; what is left to be done then. `live` is the pool's own Deployment, where it has one.

        Raises ApiError where another attempt may succeed.
        """
        manifest = build_deployment(
            pool, agent=self._agent, url_has_query=source.url_has_query, secret_digest=source.secret_digest
        )
        try:
            if pool.agent:
                await self._ensure_agent(pool)
            if live is None:
                body = await create_deployment(self._api, pool.uid, manifest)
            else:
                body = await update_deployment(self._api, pool.uid, manifest, live)
        except ApiError as error:
            return self._book.failed(pool.key, source, error, time.monotonic())
        self._store.deployment_event(body, deleted=False)
        self._book.applied(pool.key, source, DeploymentRecord.from_body(body).fingerprint)
        return Work(Task.NOTHING)

    async def look_for_agent(self, pool: WorkerPool, source: Source, live: DeploymentRecord | None, work: Work) -> Work:
        """Make the agent's ConfigMap anew if it is gone."""
        try:
            await self._ensure_agent(pool, look=True)
        except ApiError:
            return await self.apply(pool, source, live)  # which says what is in the way
        return work

    async def _ensure_agent(self, pool: WorkerPool, *, look: bool = False) -> None:
        await self._configs.ensure(build_agent_config(pool.key.namespace, self._agent), look=look)
