"""Streams of the operator's own: what the cluster writes at a high rate goes from the API server into the store.

kopf takes a task, a queue and copies for each event, more than a millisecond in all; this takes a quarter of that.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from celeriac.api.names import POOL_LABEL
from celeriac.cluster.connection import Connection
from celeriac.cluster.errors import ApiError, Expired
from celeriac.cluster.paths import Resource
from celeriac.cluster.stream import BOOKMARK, DELETED, watch_objects
from celeriac.watching.setbacks import Setbacks

AT_ONCE_SECONDS: Final = 0.1
"""Before a stream that ended is begun anew. A connection may be cut at any time: the first cut is no news."""


class Stream:
    """The events of the objects of one kind that bear the labels, in one namespace; None: in all of them."""

    def __init__(
        self,
        connection: Connection,
        resource: Resource,
        namespace: str | None,
        take: Callable[..., None],
        selector: str = POOL_LABEL,
    ) -> None:
        """`take` gets a body, and `deleted` by name."""
        self._connection = connection
        self._resource = resource
        self._namespace = namespace
        self._take = take
        self._selector = selector
        where = f"namespace {namespace}" if namespace is not None else "the cluster"
        self._setbacks = Setbacks(f"the watch of {resource.plural} in {where} ended")
        self._cuts = 0

    async def follow(self, since: str, failed: Callable[[], None]) -> None:
        """Hand on what happens after `since`, for ever; `failed` is called at each failure.

        A stream that was cut goes on where it was. Raises Expired where that is too long ago: then only a list can tell
        what was missed.
        """
        while True:
            try:
                async for kind, body, version in watch_objects(
                    self._connection, self._resource, self._namespace, self._selector, since
                ):
                    if kind != BOOKMARK:
                        self._take(body, deleted=kind == DELETED)
                    since = version
                    self._over()
                self._over()
                pause = AT_ONCE_SECONDS
            except Expired:
                raise
            except ApiError as error:
                failed()
                pause = self._note(error)
            await asyncio.sleep(pause)

    def _over(self) -> None:
        if self._cuts:
            self._cuts = 0
            self._setbacks.over()

    def _note(self, error: ApiError) -> float:
        """Take over a failure; the seconds to wait before the next attempt."""
        self._cuts += 1
        return AT_ONCE_SECONDS if self._cuts == 1 else self._setbacks.note(error, time.monotonic())
