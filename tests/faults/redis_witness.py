"""Who wrote to Redis, and when: MONITOR, read by a thread, and the ports of each process.

with RedisWitness(redis) as witness:
    witness.knows("first-operator", pid)        # before its first command
    witness.on_write("first-operator", freeze)  # called once, in the thread, at its next write
    witness.writes                              # (Unix seconds by Redis' clock, name, command)
"""

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.cluster.ports import HOST
from tests.integration.redis_server import RedisServer

CAUGHT_UP = "everything up to here"
MONITORED = re.compile(rb'\+(?P<at>[\d.]+) \[\d+ (?:lua|[^\]]*?:(?P<port>\d+))\] "(?P<command>[^"]+)"')
SOCKET = re.compile(r"socket:\[(\d+)\]")


class Write(NamedTuple):
    """A command that changes data; of a script each of those that it ran."""

    at: float
    by: str
    command: str


class RedisWitness:
    """Sees every command that Redis is given, from when it is entered."""

    def __init__(self, redis: RedisServer) -> None:
        self.writes: list[Write] = []
        self._redis = redis
        self._pids: dict[int, str] = {}
        self._names: dict[str, str] = {}
        self._awaited: tuple[str, Callable[[], None]] | None = None
        self._caught_up = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        with redis.client() as client:
            listed = client.acl_cat("write")
        self._changing = {str(name).upper() for name in listed}

    def knows(self, name: str, pid: int) -> None:
        """What this process sends is by `name`."""
        self._pids[pid] = name

    def on_write(self, name: str, act: Callable[[], None]) -> None:
        """Call this once, as soon as `name` has written something."""
        self._awaited = name, act

    def catch_up(self) -> None:
        """Until it has seen all that Redis was given by now."""
        self._caught_up.clear()
        with self._redis.client() as client:
            client.echo(CAUGHT_UP)
        assert self._caught_up.wait(60)

    def _watch(self) -> None:
        sender = ""
        for line in self._lines:
            if CAUGHT_UP.encode() in line:
                self._caught_up.set()
            found = MONITORED.match(line)
            if found is None:
                continue
            if found["port"]:
                sender = self._sender(found["port"].decode())
            if sender and found["command"].decode().upper() in self._changing:
                self.writes.append(Write(float(found["at"]), sender, found["command"].decode()))
                self._tell(sender)

    def _sender(self, port: str) -> str:
        """Whose connection has this local port; empty for those of nobody who is known."""
        if port not in self._names:
            owners = (name for pid, name in self._pids.items() if port in ports_of(pid, self._redis.port))
            self._names[port] = next(owners, "")
        return self._names[port]

    def _tell(self, name: str) -> None:
        if self._awaited is not None and self._awaited[0] == name:
            (_, act), self._awaited = self._awaited, None
            act()

    def __enter__(self) -> Self:
        self._socket = socket.create_connection((HOST, self._redis.port))
        self._socket.sendall(b"MONITOR\r\n")
        self._lines = self._socket.makefile("rb")
        assert self._lines.readline() == b"+OK\r\n"
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._lines.close()
        self._socket.close()


def ports_of(pid: int, server: int) -> set[str]:
    """The local ports of a process' TCP connections to a port of a server."""
    own = set()
    with contextlib.suppress(FileNotFoundError):  # it has ended
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # it was closed just now
                if found := SOCKET.fullmatch(entry.readlink().name):
                    own.add(found[1])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {str(_port(row[1])) for row in rows if row[9] in own and _port(row[2]) == server}


def _port(address: str) -> int:
    """Of an address as /proc/net/tcp has it."""
    return int(address.partition(":")[2], 16)
