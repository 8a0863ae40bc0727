"""A worker process that is gone: what its agent and kombu left in Redis. The messages are taken by real kombu."""

# mypy: disable-error-code="import-untyped, no-untyped-call"

import json
from collections.abc import Sequence
from typing import Any

import redis
from kombu.connection import Connection
from kombu.entity import Queue

from tests.integration.redis_server import RedisServer

POOL_UID = "6c8a1c1e-pool"
STARTED = 1e12
STEPS = (0, 3, 6, 9)


class GoneWorker:
    """One start of a worker in pod `pod`. It is registered and has reported once; then nothing more was heard."""

    def __init__(
        self,
        server: RedisServer,
        pod: str = "ml-5d8f",
        start: str = "0a1b2c3d",
        *,
        key_prefix: str = "",
        separator: str = "\x06\x16",
        steps: Sequence[int] = STEPS,
        max_attempts: int = 5,
        pool_uid: str = POOL_UID,
        pod_uid: str | None = None,
        namespace: str = "shop",
        started: float = 1_700_000_000.5,
    ) -> None:
        self.server, self.pod, self.process = server, pod, f"{pod}.{start}"
        self.pod_uid, self.pool_uid, self.key_prefix = pod_uid or f"uid-of-{pod}", pool_uid, key_prefix
        names = {name: f"{name}.{self.process}" for name in ("unacked", "unacked_index", "unacked_mutex")}
        self.unacked, self.index = key_prefix + names["unacked"], key_prefix + names["unacked_index"]
        self._options = {
            "unacked_key": names["unacked"],
            "unacked_index_key": names["unacked_index"],
            "unacked_mutex_key": names["unacked_mutex"],
            "global_keyprefix": key_prefix,
            "sep": separator,
            "priority_steps": list(steps),
        }
        self.registration: dict[str, Any] = {
            "pod": pod,
            "podUid": self.pod_uid,
            "namespace": namespace,
            "pool": "ml",
            "poolUid": pool_uid,
            "started": started,
            "unacked": names["unacked"],
            "index": names["unacked_index"],
            "mutex": names["unacked_mutex"],
            "separator": separator,
            "prioritySteps": list(steps),
            "queues": ["mail"],
            "visibilityTimeout": 3600,
            "maxAttempts": max_attempts,
        }
        with server.client() as client:
            client.hset(f"{key_prefix}celeriac:pools", pool_uid, json.dumps({"namespace": namespace, "name": "ml"}))
            client.hset(self.key("processes"), self.process, json.dumps(self.registration))
            client.set(key_prefix + names["unacked_mutex"], "held")
        self.report(1)

    def key(self, name: str) -> str:
        """One of the pool's own keys."""
        return f"{self.key_prefix}celeriac:{self.pool_uid}:{name}"

    def report(self, counter: int) -> None:
        """Report once."""
        with self.server.client() as client:
            client.hset(self.key("reports"), self.pod_uid, json.dumps(report(self.process, self.pod, counter)))

    def connection(self) -> Connection:
        """A connection as this worker had it."""
        return Connection(self.server.celery_url, transport_options=self._options)

    def take(self, queue: str | Queue, count: int = 1, *, stamp: str | None = None, started: bool = False) -> list[str]:
        """Take messages and keep them for ever; their delivery tags, the first taken first.

        The agent stamps each with its queue, `stamp` where that is another text.
        """
        tags = []
        with self.connection() as connection:
            channel = connection.channel()
            channel.do_restore = False  # it is killed, so it puts nothing back
            bound = (queue if isinstance(queue, Queue) else Queue(queue, exchange="", no_declare=True))(channel)
            for _ in range(count):
                message = bound.get()
                assert message is not None, f"{bound.name} holds too little"
                tags.append(str(message.delivery_tag))
        with self.server.client() as client:
            for tag in tags:
                self._note(client, tag, bound.name if stamp is None else stamp, started=started)
        return tags

    def _note(self, client: redis.Redis, tag: str, queue: str, *, started: bool) -> None:
        """Stamp the message as the agent does on delivery, and mark it as started."""
        message, exchange, routing_key = json.loads(client.hget(self.unacked, tag) or "")
        message["properties"]["delivery_info"]["celeriac_queue"] = queue
        client.hset(self.unacked, tag, json.dumps([message, exchange, routing_key]))
        if started:
            client.zincrby(self.index, STARTED, tag)


def report(process: str, pod: str, counter: int) -> dict[str, Any]:
    """What an agent reports."""
    return {
        "v": 1,
        "n": counter,
        "process": process,
        "pod": pod,
        "state": "consuming",
        "token": None,
        "active": 2,
        "reserved": 1,
        "scheduled": 0,
        "unacked": 3,
        "processed": 17,
        "busy": 41.5,
        "slots": 4,
        "celery": "5.7.0",
        "kombu": "5.7.0",
        "python": "3.11.2",
        "pool": "celery.concurrency.thread:TaskPool",
        "broker": "redis://redis:6379/0",
        "prefix": "",
        "queues": ["mail"],
        "prefetch": 0,
        "acksLate": True,
        "visibilityTimeout": 3600,
        "capabilities": ["inflight", "drain", "exact"],
        "missing": [],
        "signals": True,
        "givenBack": 0,
        "restored": 0,
        "dead": 0,
        "errors": 0,
    }
