"""How long a worker waits for a Redis that has fallen silent."""

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celeriac_agent.channel import TaskChannel
from celeriac_agent.silence import SILENT_SECONDS, OverdueReplies, limit_silence
from celeriac_agent.times import TICK_SECONDS
from kombu.transport import redis

pytestmark = pytest.mark.unit

OPTIONS = ("socket_timeout", "socket_keepalive", "socket_keepalive_options")
TURNS = int(SILENT_SECONDS / TICK_SECONDS)


@pytest.fixture
def defaults(monkeypatch: pytest.MonkeyPatch) -> Any:
    """kombu's channels, whose defaults are as they were after the test."""
    for name in OPTIONS:
        monkeypatch.setattr(redis.Channel, name, None)
    return redis.Channel


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection's two ends."""
    near, far = socket.socketpair()
    with near, far:
        yield near, far


def test_no_connection_waits_for_ever(defaults: Any) -> None:
    limit_silence()
    assert (defaults.socket_timeout, defaults.socket_keepalive) == (15.0, True)
    assert defaults.socket_keepalive_options == {
        socket.TCP_KEEPIDLE: 15,
        socket.TCP_KEEPINTVL: 5,
        socket.TCP_KEEPCNT: 3,
        socket.TCP_USER_TIMEOUT: 30_000,
    }


def test_what_somebody_chose_stays(defaults: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "socket_timeout", 300)
    monkeypatch.setattr(defaults, "socket_keepalive", False)
    limit_silence()
    assert (defaults.socket_timeout, defaults.socket_keepalive) == (300, False)


def test_an_option_that_the_kernel_refuses_is_left_out(defaults: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "TCP_KEEPCNT", 9999)
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT")
    limit_silence()
    assert defaults.socket_keepalive_options == {socket.TCP_KEEPIDLE: 15, socket.TCP_KEEPINTVL: 5}


class Raw:
    """A kombu channel as far as it is asked."""

    def __init__(self) -> None:
        self.connection = SimpleNamespace(channels=[self])
        self.qos: Any = None
        self._in_poll: Any = None

    def _brpop_start(self) -> None:
        """Ask Redis for the next message."""


def watched(near: socket.socket) -> tuple[OverdueReplies, TaskChannel, Raw]:
    raw = Raw()
    channel = TaskChannel(SimpleNamespace(task_consumer=SimpleNamespace(channel=raw)))
    overdue = OverdueReplies()
    overdue.watch(channel)
    overdue.watch(channel)
    raw._in_poll = SimpleNamespace(_sock=near)
    return overdue, channel, raw


def test_a_connection_whose_reply_is_overdue_is_ended_for_both_sides(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    overdue, channel, _ = watched(near)
    near.setblocking(False)
    for _ in range(TURNS - 1):
        overdue.step(channel)
    with pytest.raises(BlockingIOError):
        near.recv(1)
    overdue.step(channel)
    assert (near.recv(1), far.recv(1)) == (b"", b"")


def test_each_request_has_its_own_time_and_none_means_no_hurry(ends: tuple[socket.socket, socket.socket]) -> None:
    near, _ = ends
    overdue, channel, raw = watched(near)
    for _ in range(3):
        for _ in range(TURNS - 1):
            overdue.step(channel)
        raw._brpop_start()
    raw._in_poll = None
    for _ in range(3 * TURNS):
        overdue.step(channel)
    near.setblocking(False)
    with pytest.raises(BlockingIOError):
        near.recv(1)
