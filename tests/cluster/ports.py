"""Ports on loopback for servers of tests: no two processes that run tests at the same time give out the same one.

A port is free until its server binds it, which may be seconds later; until then nobody else must be given it.
"""

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Final, TextIO

from tests.cluster.errors import ClusterError

HOST: Final = "127.0.0.1"
FIRST: Final = 10_000
SHARES: Final = 220
SIZE: Final = 100
"""Of a share, which one process has as long as it lives. Linux hands out 32768 and up to outgoing connections."""

_locks: list[TextIO] = []


def free_port() -> int:
    """A port that nobody listens on at this moment. The same comes again after SIZE others, at the earliest."""
    ports = _ports()
    for _ in range(SIZE):
        port = next(ports)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise ClusterError(f"this process has servers on all of its {SIZE} ports on loopback")


@cache
def _ports() -> Iterator[int]:
    folder = Path(tempfile.gettempdir()) / f"celeriac-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for share in random.sample(range(SHARES), SHARES):
        lock = (folder / str(share)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        _locks.append(lock)
        return cycle(range(FIRST + share * SIZE, FIRST + (share + 1) * SIZE))
    raise ClusterError(f"{SHARES} processes of tests have all ports on loopback that are theirs: end some of them")
