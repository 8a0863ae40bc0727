"""One watch of the API server: what befalls the objects of a kind, as it happens."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final, NamedTuple

import aiohttp

from celeriac.cluster.body import Body
from celeriac.cluster.connection import Connection
from celeriac.cluster.errors import ApiError, error_from_response
from celeriac.cluster.paths import Resource

SERVER_SECONDS: Final = 300
"""After which the API server ends a watch; the next goes on where it ended."""
SILENT_SECONDS: Final = 70.0
"""An API server sends a bookmark about once a minute: one that sends nothing for longer may be out of reach."""
CONNECT_SECONDS: Final = 5.0
HEAD_SECONDS: Final = 20.0

DELETED: Final = "DELETED"
BOOKMARK: Final = "BOOKMARK"


class Happening(NamedTuple):
    """`kind` is ADDED, MODIFIED, DELETED or BOOKMARK, which has no more to say than from which `version` to go on."""

    kind: str
    body: Body
    version: str


async def watch_objects(
    connection: Connection, resource: Resource, namespace: str | None, label_selector: str, since: str
) -> AsyncIterator[Happening]:
    """What happens after the resourceVersion `since` to the objects that carry the labels.

    An object that loses them is deleted, to a watch. It ends without an error when the API server ends it, or is silent
    for long. Raises ApiError; Expired where `since` is too long ago.
    """
    query = {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": str(SERVER_SECONDS),
        "resourceVersion": since,
        "labelSelector": label_selector,
    }
    # No total: silence ends it, and a total of aiohttp's would swallow a cancellation of the same moment.
    limits = aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)
    path = resource.collection(namespace)
    async with connection.stream(path, query, head_seconds=HEAD_SECONDS, limits=limits) as content:
        async for line in _lines(content):
            yield _happening(line)


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """The lines of a stream, however long. What is behind the last newline was cut off: it is part of no event.

    They end where nothing comes for SILENT_SECONDS. Of a kind without any event since its own start an API server sends
    no bookmarks either (seen on 1.34), so that silence proves nothing; whether it can be reached, the next watch tells.
    """
    rest, pieces = b"", content.iter_any()
    while True:
        try:
            piece = await anext(pieces)
        except (StopAsyncIteration, TimeoutError):
            return
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line:
                yield line
        await asyncio.sleep(0)  # a flood of events must not keep the loop from the tick and the Lease


def _happening(line: bytes) -> Happening:
    try:
        told: Any = json.loads(line)
        kind, body = told["type"], told["object"]
        if kind == "ERROR":
            raise error_from_response(int(body["code"]), json.dumps(body).encode())
        return Happening(kind, body, body["metadata"]["resourceVersion"])
    except (ValueError, TypeError, LookupError) as error:
        raise ApiError(0, "InvalidAnswer", f"the API server sent no event: {error!r}") from error
