"""kopf as a source of events: watch events go into the store, which puts keys in line. No logic lives here.

kopf's own machinery for handlers that can fail (finalizers, progress annotations, status patches) is not used: its
patches can be lost, and exception texts would land in annotations of the object.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import kopf

from celeriac.api.names import GROUP, PLURAL, VERSION
from celeriac.cluster import stream
from celeriac.cluster.body import Body
from celeriac.settings import Settings


class Takes(NamedTuple):
    """Who takes what kopf sees: a pool's body, a namespace's name; and, by name, whether it is `deleted`."""

    pool: Callable[..., None]
    namespace: Callable[..., None]


def watch_registry(takes: Takes, own: Settings) -> kopf.OperatorRegistry:
    """The handlers of what kopf watches: the CeleryWorkerPools, and the namespaces where those are selected."""
    registry = kopf.OperatorRegistry()

    # Not `def`: kopf would call it in a thread, and nothing behind it expects more than one.
    async def pool_event(type: str | None, body: Body, **_: Any) -> None:
        takes.pool(body, deleted=type == "DELETED")

    async def namespace_event(type: str | None, name: str, **_: Any) -> None:
        takes.namespace(name, deleted=type == "DELETED")

    kopf.on.event(GROUP, VERSION, PLURAL, registry=registry, id="pools")(pool_event)
    if own.namespace_selector:
        kopf.on.event("", "v1", "namespaces", registry=registry, id="namespaces")(namespace_event)
    kopf.on.login(registry=registry, id="login")(_login)
    return registry


def watch_settings(own: Settings) -> kopf.OperatorSettings:
    """Settings with which watches survive every outage that was provoked on a real API server.

    A pool or a namespace that loses the labels of its selector is to a watch as one that is deleted.
    """
    kopf_settings = kopf.OperatorSettings()
    watching = kopf_settings.watching
    watching.server_timeout = stream.SERVER_SECONDS
    watching.connect_timeout, watching.inactivity_timeout = stream.CONNECT_SECONDS, stream.SILENT_SECONDS
    if own.pool_selector:
        watching.label_selectors[GROUP, VERSION, PLURAL] = own.pool_selector
    if own.namespace_selector:
        watching.label_selectors["", "v1", "namespaces"] = own.namespace_selector
    kopf_settings.networking.request_timeout = stream.HEAD_SECONDS
    kopf_settings.networking.error_backoffs = _Endless(0.5, 1, 2, 5)
    kopf_settings.queueing.error_delays = _Endless(0.5, 1, 2, 5)
    kopf_settings.scanning.disabled = True
    kopf_settings.posting.enabled = False
    kopf_settings.peering.standalone = True
    kopf_settings.persistence.diffbase_storage = _NoDiffs()
    return kopf_settings


async def deliver_events(
    takes: Takes, namespaces: Sequence[str], own: Settings, *, over: asyncio.Event, ready: asyncio.Event
) -> None:
    """Watch these namespaces, or the whole cluster where none is given, until `over`; `ready` once kopf has started."""
    await kopf.operator(
        registry=watch_registry(takes, own),
        settings=watch_settings(own),
        clusterwide=not namespaces,
        namespaces=list(namespaces),
        # Otherwise kopf asks for the user's name, which the user of a container seldom has.
        identity=own.identity,  # type: ignore[arg-type]  # a NewType that kopf keeps to itself
        stop_flag=over,
        ready_flag=ready,
    )


class _NoDiffs(kopf.DiffBaseStorage):
    """Keeps no essence of an object: no handler asks what has changed, and kopf would copy each body for it."""

    def build(self, *, body: Body, extra_fields: Any = None) -> Any:
        return {}

    def fetch(self, *, body: Body) -> Any:
        return None

    def store(self, *, body: Body, patch: Any, essence: Any) -> None:
        pass


class _Endless:
    """Backoffs in seconds of which the last repeats for ever; each iteration begins anew, as kopf expects."""

    def __init__(self, *seconds: float) -> None:
        self._seconds = seconds

    def __iter__(self) -> Any:
        yield from self._seconds
        while True:
            yield self._seconds[-1]


def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """The same choice as that of `celeriac.cluster`: events of one cluster must not lead to writes in another."""
    login = kopf.login_with_kubeconfig if os.environ.get("KUBECONFIG") else kopf.login_with_service_account
    return login(**kwargs)
