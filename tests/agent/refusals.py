"""The ways in which Redis answers a write with an error, each of them brought about on a real server and ended."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.agent.worker import eventually
from tests.integration.redis_server import RedisServer

NOWHERE = ("127.0.0.1", 1)  # nobody listens there: a replica of it keeps its data
SCRIPT_SECONDS = 0.05  # Redis answers BUSY once a script has run for so long


@dataclass(frozen=True)
class Refusal:
    """One of them; `code` is the first word of the error."""

    code: str
    server: RedisServer

    @property
    def told(self) -> int:
        """How often Redis has answered so; a replica without its master says READONLY to a write.

        One that is busy tells nobody: workers try each second, so that seconds count.
        """
        if self.code == "BUSY":
            return int(time.monotonic())
        with self.server.client() as client:
            counts = client.info("errorstats")
        words = {self.code, "READONLY"} if self.code == "MASTERDOWN" else {self.code}
        return sum(int(counts.get(f"errorstat_{word}", {"count": 0})["count"]) for word in words)

    @contextlib.contextmanager
    def lasts(self) -> Iterator[None]:
        """Redis refuses meanwhile."""
        with self.server.client() as client, _WAYS[self.code](client, self.server):
            yield


def _config(client: redis.Redis, **values: str) -> None:
    for name, value in values.items():
        client.config_set(name.replace("_", "-"), value)


@contextlib.contextmanager
def _full(client: redis.Redis, _server: RedisServer) -> Iterator[None]:
    _config(client, maxmemory="1")
    yield
    _config(client, maxmemory="0")


@contextlib.contextmanager
def _snapshots_fail(client: redis.Redis, server: RedisServer) -> Iterator[None]:
    """A folder lies where the snapshot goes, as nothing else keeps root from writing."""
    snapshot = Path(server.directory) / "dump.rdb"
    snapshot.unlink(missing_ok=True)
    (snapshot / "full").mkdir(parents=True)
    client.bgsave()
    eventually(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "a snapshot fails", 10)
    yield
    (snapshot / "full").rmdir()
    snapshot.rmdir()
    client.save()


@contextlib.contextmanager
def _replica(client: redis.Redis, _server: RedisServer) -> Iterator[None]:
    client.replicaof(*NOWHERE)
    yield
    client.replicaof("NO", "ONE")


@contextlib.contextmanager
def _stale_replica(client: redis.Redis, server: RedisServer) -> Iterator[None]:
    _config(client, replica_serve_stale_data="no")
    with _replica(client, server):
        yield
    _config(client, replica_serve_stale_data="yes")


@contextlib.contextmanager
def _no_replicas(client: redis.Redis, _server: RedisServer) -> Iterator[None]:
    _config(client, min_replicas_to_write="1")
    yield
    _config(client, min_replicas_to_write="0")


@contextlib.contextmanager
def _no_permission(client: redis.Redis, _server: RedisServer) -> Iterator[None]:
    """Whoever is connected may write no more; a rule for an administrator stays."""
    client.acl_setuser("default", enabled=True, nopass=True, commands=["-hset", "-zadd", "-brpop"])
    yield
    client.acl_setuser("default", enabled=True, nopass=True, categories=["+@all"])


@contextlib.contextmanager
def _busy(client: redis.Redis, server: RedisServer) -> Iterator[None]:
    _config(client, lua_time_limit=str(int(SCRIPT_SECONDS * 1000)))

    def run() -> None:
        with server.client() as other, contextlib.suppress(redis.ResponseError):
            other.eval("while true do end", 0)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    client.script_kill()
    thread.join()


_WAYS: dict[str, Callable[[redis.Redis, RedisServer], contextlib.AbstractContextManager[None]]] = {
    "OOM": _full,
    "MISCONF": _snapshots_fail,
    "READONLY": _replica,
    "MASTERDOWN": _stale_replica,
    "NOREPLICAS": _no_replicas,
    "NOPERM": _no_permission,
    "BUSY": _busy,
}
CODES = tuple(_WAYS)
