"""The connection by which a worker fetches, while it fetches nothing: the server, or what is between, may close it.

A worker whose slots are taken asks for no message, for as long as its tasks run; a marked one asks for none at all.
Kombu finds a closed connection only when it asks again, and takes that for the loss of the whole connection, with the
tasks that run. Before 5.7 the loop also spins until then, and a reply by the new socket may never be read.
"""

from __future__ import annotations

import socket
from typing import Any

from .channel import TaskChannel

BRPOP = "BRPOP"  # as kombu's poller calls the connection by which a channel fetches
ESTABLISHED = 1  # the first byte of Linux' tcp_info


def mind_idle_connection(channel: TaskChannel) -> None:
    """Drop the connection by which the channel fetches when it is closed while no reply is due, and renew it by need.

    The worker's other connections, and what it runs, are not touched.
    """
    raw, hub = channel.raw, channel.consumer.hub
    cycle = raw.connection.cycle
    start, on_readable = raw._brpop_start, cycle.on_readable

    def _brpop_start(*args: Any, **kwargs: Any) -> Any:
        if is_closed(raw.client.connection, otherwise=False):
            _drop(raw, hub)
            cycle._register(raw, raw.client, BRPOP)  # connects
        return start(*args, **kwargs)

    def on_readable_or_closed(fileno: int) -> Any:
        fetches = cycle._fd_to_chan.get(fileno) == (raw, BRPOP)
        # No reply is due, so what can be read is the end. A TLS session ticket is not: the state of TCP is asked.
        if fetches and not raw._in_poll and is_closed(raw.client.connection, otherwise=True):
            return _drop(raw, hub)
        return on_readable(fileno)

    raw._brpop_start, cycle.on_readable = _brpop_start, on_readable_or_closed


def is_closed(connection: Any, *, otherwise: bool) -> bool:
    """Whether the other end has closed a connection of redis-py's; `otherwise` where that cannot be told.

    It can for TCP on Linux, without reading, whatever gevent or eventlet have made of the socket.
    """
    sock = getattr(connection, "_sock", None)
    if sock is None:
        return False
    try:
        return bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != ESTABLISHED)
    except (AttributeError, OSError):
        return otherwise


def _drop(raw: Any, hub: Any) -> None:
    """Take the connection out of the poller and close it; kombu connects when it next fetches.

    Kombu is not told of the end: before 5.7 it would stop to poll the channel altogether.
    """
    cycle, connection = raw.connection.cycle, raw.client.connection
    cycle._chan_to_sock.pop((raw, raw.client, BRPOP), None)
    for fileno in [fd for fd, of in cycle._fd_to_chan.items() if of == (raw, BRPOP)]:
        del cycle._fd_to_chan[fileno]
        (cycle.poller.unregister if hub is None else hub.remove)(fileno)
    tell = cycle._on_connection_disconnect
    cycle._on_connection_disconnect = lambda _connection: None
    try:
        connection.disconnect()
    finally:
        cycle._on_connection_disconnect = tell
