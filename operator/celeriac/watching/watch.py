"""Fills the store: a list of everything now and then, and watches in between, begun anew whenever they end.

kopf watches the CeleryWorkerPools; their Deployments and Pods come by streams of the operator's own.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Any

from celeriac.api.names import POOL_LABEL
from celeriac.cluster.client import Api
from celeriac.cluster.errors import Forbidden, NotFound
from celeriac.cluster.listing import Listing
from celeriac.cluster.paths import CELERY_WORKER_POOLS, DEPLOYMENTS, NAMESPACES, PODS, Resource
from celeriac.settings import Settings
from celeriac.telemetry.metrics import Metrics
from celeriac.watching.kopf_events import Takes, deliver_events
from celeriac.watching.setbacks import FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS, Setbacks
from celeriac.watching.shard import Shard
from celeriac.watching.store import Store
from celeriac.watching.streams import Stream

log = logging.getLogger(__name__)

POOLS_CRD = "celeryworkerpools.celeriac.dev"

Namespace = str | None
"""None: all of them."""


class Watch:
    """Keeps a Store up to date. `listed` is set once everything has been listed for the first time."""

    def __init__(
        self, api: Api, store: Store, shard: Shard, settings: Settings, metrics: Metrics, stopping: asyncio.Event
    ) -> None:
        self._api = api
        self._store = store
        self._shard = shard
        self._list_again = asyncio.Event()
        self._settings = settings
        self._metrics = metrics
        self._stopping = stopping
        self._wanted: tuple[Namespace, ...] = settings.watch_namespaces or (None,)
        self._readable: tuple[Namespace, ...] = ()
        self._versions: dict[tuple[Resource, Namespace], str] = {}
        self._selectors = {CELERY_WORKER_POOLS: settings.pool_selector, DEPLOYMENTS: POOL_LABEL, PODS: POOL_LABEL}
        self._refused: set[Namespace] = set()
        self._watching = Setbacks("the watches ended")
        self._listing = Setbacks("the objects could not be listed")
        self.listed = asyncio.Event()

    async def run(self, after_start: Callable[[], None]) -> None:
        """Watch until `stopping`. `after_start` is called whenever kopf has installed its own signal handlers."""
        while not self._stopping.is_set():
            await self._list_at_last()  # kopf watches only kinds that are served when it starts
            begun, over = time.monotonic(), asyncio.Event()
            parts = [
                asyncio.create_task(self._kopf(over, after_start)),
                asyncio.create_task(self._list_now_and_then()),
                asyncio.create_task(self._stopping.wait()),
                *(asyncio.create_task(stream) for stream in self._streams()),
            ]
            try:
                done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
                over.set()
                await parts[0]
                for part in done:
                    part.result()
            except Exception as error:
                self._metrics.watch_failure("watch")
                if time.monotonic() - begun > LAST_PAUSE_SECONDS:
                    self._watching.over()
                await asyncio.sleep(self._watching.note(error, time.monotonic()))
            finally:
                for part in parts:
                    part.cancel()

    async def _kopf(self, over: asyncio.Event, after_start: Callable[[], None]) -> None:
        """One run of kopf, until `over`."""
        ready = asyncio.Event()
        namespaces = [namespace for namespace in self._readable if namespace is not None]
        takes = Takes(self._store.pool_event, self._namespace_event)
        watching = asyncio.create_task(deliver_events(takes, namespaces, self._settings, over=over, ready=ready))
        started = asyncio.create_task(ready.wait())
        try:
            await asyncio.wait([watching, started], return_when=asyncio.FIRST_COMPLETED)
            after_start()
            await watching
            if not over.is_set():
                self._stopping.set()  # kopf took a signal before `after_start`
        finally:
            started.cancel()
            watching.cancel()

    def _streams(self) -> list[Coroutine[Any, Any, None]]:
        """The streams of Deployments and Pods, from the last list on."""
        takes = {DEPLOYMENTS: self._store.deployment_event, PODS: self._store.pod_event}
        failed = partial(self._metrics.watch_failure, "watch")
        return [
            Stream(self._api.connection, resource, namespace, take).follow(self._versions[resource, namespace], failed)
            for resource, take in takes.items()
            for namespace in self._readable
        ]

    async def _list_now_and_then(self) -> None:
        """A watch can miss a deletion: list again. Returns when other namespaces can be read than are watched."""
        watched = self._readable
        while self._readable == watched:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.resync_seconds):
                    await self._list_again.wait()
            await self._list_at_last()

    def _namespace_event(self, name: str, *, deleted: bool) -> None:
        """A namespace bears the labels of the selector, or does no longer: what is in it is listed at once."""
        if (name in self._shard.namespaces) == deleted:
            self._list_again.set()

    async def _list_at_last(self) -> None:
        """List everything, as often as it takes."""
        while True:
            try:
                await self._list()
                pause = FIRST_PAUSE_SECONDS
                if self._readable:
                    self._listing.over()
                    self.listed.set()
                    return
            except NotFound as error:
                message = f"the CRD {POOLS_CRD} is not installed: apply crds/, or set crds.install of the chart"
                absent = NotFound(error.status, error.reason, message)
                pause = self._listing.note(absent, time.monotonic())
            except Exception as error:
                self._metrics.watch_failure("list")
                pause = self._listing.note(error, time.monotonic())
            await asyncio.sleep(pause)

    async def _list(self) -> None:
        """Take over one list of all that can be read. A namespace that must not be read is as good as empty.

        The lists are of the API server's cache, and no older than anything that is known: one that is behind would
        bring back what is gone, and take away what is new.
        """
        self._list_again.clear()
        if self._settings.namespace_selector:
            # Before the pools: one that is made later comes with an event, one that was made before with the list.
            served = await self._api.list_all(NAMESPACES, None, self._settings.namespace_selector)
            self._shard.serve([each["metadata"]["name"] for each in served])
        moments = self._store.moments()
        listings: dict[Resource, dict[Namespace, Listing]] = {resource: {} for resource in self._selectors}
        readable = []
        for namespace in self._wanted:
            try:
                found = {
                    each: await self._api.list_cached(each, namespace, of, self._store.edges[each].newest)
                    for each, of in self._selectors.items()
                }
            except Forbidden as error:
                self._refuse(namespace, error)
                continue
            for resource, listing in found.items():
                listings[resource][namespace] = listing
            readable.append(namespace)
        self._refused.difference_update(readable)
        takes = (self._store.replace_pools, self._store.replace_deployments, self._store.replace_pods)
        for resource, take, since in zip((CELERY_WORKER_POOLS, DEPLOYMENTS, PODS), takes, moments, strict=True):
            take(chain.from_iterable(listings[resource].values()), since)
        self._versions = {}
        for resource, of_namespaces in listings.items():
            for namespace, listing in of_namespaces.items():
                self._versions[resource, namespace] = listing.version
                self._store.edges[resource].saw(listing.version)
        self._readable = tuple(readable)

    def _refuse(self, namespace: Namespace, error: Forbidden) -> None:
        if namespace not in self._refused:
            self._refused.add(namespace)
            place = f"namespace {namespace}" if namespace else "the cluster"
            log.warning("%s must not be read, its pools are left alone: %s", place, error.message)
