"""The connection by which a worker fetches, while it fetches nothing: the server, or what is between, may close it.

A worker whose slots are taken asks for no message, for as long as its tasks run; a marked one asks for none at all.
Kombu finds a closed connection only when it asks again, and takes that for the loss of the whole connection, with the
tasks that run. Before 5.7 the loop also spins until then, and a reply by the new socket may never be read.
"""

from __future__ import annotations

import socket
from typing import Any

from .channel import TaskChannel
from .hooks import Hooks

BRPOP = "BRPOP"  # as kombu's poller calls the connection by which a channel fetches
ESTABLISHED = 1  # the first byte of Linux' tcp_info


def mind_idle_connection(channel: TaskChannel, hooks: Hooks) -> None:
    """Drop the connection by which the channel fetches when it is closed while no reply is due, and renew it by need.

    The worker's other connections, and what it runs, are not touched.
    """
    if not hooks.have("idle-connection"):
        return
    raw, hub = channel.raw, channel.consumer.hub
    cycle = raw.connection.cycle
    start, on_readable = raw._brpop_start, cycle.on_readable

    def _brpop_start(*args: Any, **kwargs: Any) -> Any:
        if is_closed(raw.client.connection):
            _drop(raw, hub)
            cycle._register(raw, raw.client, BRPOP)  # connects
        return start(*args, **kwargs)

    def on_readable_or_closed(fileno: int) -> Any:
        if cycle._fd_to_chan.get(fileno) != (raw, BRPOP) or raw._in_poll:
            return on_readable(fileno)
        if has_ended(raw.client.connection):  # what else can be read where no reply is due
            _drop(raw, hub)
        return None

    raw._brpop_start, cycle.on_readable = _brpop_start, on_readable_or_closed


def is_closed(connection: Any) -> bool:
    """Whether the other end has closed a connection of redis-py's, as far as can be told without reading.

    It can for TCP on Linux, whatever gevent or eventlet have made of the socket.
    """
    try:
        return bool(connection._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != ESTABLISHED)
    except (AttributeError, OSError):
        return False


def has_ended(connection: Any) -> bool:
    """Whether a readable connection on which no reply is due is of no use any more; at most a byte of it is read.

    TLS has a farewell that comes before the end of TCP, and session tickets that say nothing and are read here.
    """
    sock = connection._sock
    if sock is None:
        return True
    timeout = sock.gettimeout()
    try:
        sock.settimeout(0)
        sock.recv(1)
        return True  # the end, or what nobody has asked for
    except OSError as error:
        return type(error).__name__ not in ("BlockingIOError", "SSLWantReadError", "SSLWantWriteError")
    finally:
        sock.settimeout(timeout)


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
