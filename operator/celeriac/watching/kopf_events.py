"""kopf as a source of events: watch events go into the store, which puts keys in line. No logic lives here.

kopf's own machinery for handlers that can fail (finalizers, progress annotations, status patches) is not used: its
patches can be lost, and exception texts would land in annotations of the object.
"""

import asyncio
import os
from collections.abc import Sequence
from typing import Any

import kopf

from celeriac.api.names import GROUP, PLURAL, VERSION
from celeriac.cluster.body import Body
from celeriac.settings import Settings
from celeriac.watching.store import Store


def watch_registry(store: Store) -> kopf.OperatorRegistry:
    """The handlers of what kopf watches: the CeleryWorkerPools."""
    registry = kopf.OperatorRegistry()

    # Not `def`: kopf would call it in a thread, and nothing behind it expects more than one.
    async def pool_event(type: str | None, body: Body, **_: Any) -> None:
        store.pool_event(body, deleted=type == "DELETED")

    kopf.on.event(GROUP, VERSION, PLURAL, registry=registry, id="pools")(pool_event)
    kopf.on.login(registry=registry, id="login")(_login)
    return registry


def watch_settings(pool_selector: str) -> kopf.OperatorSettings:
    """Settings with which watches survive every outage that was provoked on a real API server.

    A pool that loses the labels of the selector is to a watch as one that is deleted.
    """
    kopf_settings = kopf.OperatorSettings()
    watching = kopf_settings.watching
    watching.server_timeout, watching.client_timeout = 300, 330
    watching.connect_timeout, watching.inactivity_timeout = 5, 70
    if pool_selector:
        watching.label_selectors[GROUP, VERSION, PLURAL] = pool_selector
    kopf_settings.networking.request_timeout = 20
    kopf_settings.networking.error_backoffs = _Endless(0.5, 1, 2, 5)
    kopf_settings.queueing.error_delays = _Endless(0.5, 1, 2, 5)
    kopf_settings.scanning.disabled = True
    kopf_settings.posting.enabled = False
    kopf_settings.peering.standalone = True
    kopf_settings.persistence.diffbase_storage = _NoDiffs()
    return kopf_settings


async def deliver_events(
    store: Store, namespaces: Sequence[str], own: Settings, *, over: asyncio.Event, ready: asyncio.Event
) -> None:
    """Watch these namespaces, or the whole cluster where none is given, until `over`; `ready` once kopf has started."""
    await kopf.operator(
        registry=watch_registry(store),
        settings=watch_settings(own.pool_selector),
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
