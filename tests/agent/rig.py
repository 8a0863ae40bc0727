"""A pool of workers without Kubernetes: a Redis, a sender, the ledger, and a hand that drains as the operator does."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import kombu.pools
import redis
from celery import Celery

from tests.agent.ledger import Account, Idle, Ledger
from tests.agent.worker import Place, Report, Spec, Worker, eventually
from tests.integration.redis_server import RedisServer
from tests.integration.silent_backend import silent

PREFIX = "shop:"
WORK = "ledger_app.work"
DRAIN_SECONDS = 30.0
SENDER = "sender"


class Rig:
    """Everything of one story. Leaves no process behind; the account is the story's verdict."""

    def __init__(
        self,
        server: RedisServer,
        directory: Path,
        *,
        prefix: str = PREFIX,
        broker: str | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Begin with an empty Redis; `broker` is the URL that workers and sender take instead of the server's own."""
        self.server, self.prefix = server, prefix
        self.client: redis.Redis = server.client()
        self.client.flushall()
        self.pool_uid = str(uuid.uuid4())
        self.ledger = Ledger(directory / "ledger.jsonl")
        self.place = Place(
            broker or server.celery_url,
            prefix,
            self.pool_uid,
            directory,
            self.ledger.file,
            self.client,
            dict(config or {}),
        )
        self.workers: list[Worker] = []
        kombu.pools.reset()  # type: ignore[no-untyped-call]  # an earlier rig's connections, to a server that may be gone
        self.sender = self._make_sender()

    def pods(self, *specs: Spec) -> list[Worker]:
        """Pods whose containers have not been started."""
        made = [Worker(self.place, spec, f"orders-{len(self.workers) + number}") for number, spec in enumerate(specs)]
        self.workers += made
        return made

    def start(self, *specs: Spec) -> list[Worker]:
        """Start pods beside each other, and wait until all of them are ready."""
        pods = self.pods(*specs)
        for pod in pods:
            pod.start()
        for pod in pods:
            pod.ready()
        return pods

    def send(
        self,
        *tasks: str,
        name: str = WORK,
        args: Sequence[Any] = (),
        runs: int = 1,
        producer: Any = None,
        **options: Any,
    ) -> None:
        """Publish one message for each of `tasks`, which are the ids; each is to run `runs` times.

        A sender that sends often gives the `producer` that it keeps.
        """
        for task in tasks:
            self.ledger.sent[task] += runs
        options |= {"args": args, "ignore_result": True}
        with nullcontext(producer) if producer else self.producer() as kept:
            for task in tasks:
                self.sender.send_task(name, task_id=task, producer=kept, **options)

    @contextmanager
    def producer(self) -> Iterator[Any]:
        """A producer with a connection of its own."""
        with self.sender.connection_for_write() as connection, self.sender.amqp.Producer(connection) as producer:
            yield producer

    def mark(self, worker: Worker) -> str:
        """Do what the operator does to a victim: set the mark, with a token of its own."""
        token = uuid.uuid4().hex
        self.client.hset(self._key("drain"), worker.uid, token)
        return token

    def tell_to_stop(self, worker: Worker) -> None:
        """Do what the operator does where a deleted pod has not heard SIGTERM: a mark of that kind."""
        self.client.hset(self._key("drain"), worker.uid, f"stop-{uuid.uuid4().hex}")

    def tell_to_start_anew(self, worker: Worker, process: str) -> None:
        """Do what the operator does where a worker fetches nothing: that start of it is to stop."""
        self.client.hset(self._key("drain"), worker.uid, f"stop-of-{process}-{uuid.uuid4().hex}")

    def drained(self, worker: Worker, token: str, seconds: float = DRAIN_SECONDS) -> Report:
        """Wait for `drained` with that token; from then on the ledger minds every start in that pod."""
        report = worker.wait_for(
            lambda report: report["state"] == "drained" and report["token"] == token, "drained", seconds
        )
        self.ledger.idle.append(Idle(worker.pod, time.monotonic()))
        return report

    def drain(self, worker: Worker, seconds: float = DRAIN_SECONDS) -> Report:
        """Mark it and wait until it is drained."""
        return self.drained(worker, self.mark(worker), seconds)

    def undrain(self, worker: Worker) -> None:
        """Take the mark away; from now on it may take work again."""
        now = time.monotonic()
        self.ledger.idle[:] = [
            replace(idle, until=min(idle.until, now)) if idle.pod == worker.pod else idle for idle in self.ledger.idle
        ]
        self.client.hdel(self._key("drain"), worker.uid)

    def scale_down(self, worker: Worker) -> None:
        """As the operator: mark, wait for `drained`, let the pod be stopped, forget the mark."""
        self.drain(worker)
        worker.terminate()
        self.client.hdel(self._key("drain"), worker.uid)

    def wait_for(self, condition: Any, what: str, seconds: float = 30.0) -> Any:
        """Poll until `condition` is true; the error tells what all workers said last."""
        return eventually(condition, what, seconds, self.explain)

    def running(self, *tasks: str, seconds: float = 20.0) -> None:
        """Wait until exactly these tasks run."""
        self.wait_for(lambda: self.ledger.running() == sorted(tasks), f"these run: {tasks}", seconds)

    def busy(self, slots: int) -> None:
        """Wait until so many tasks run, whichever they are."""
        self.wait_for(lambda: len(self.ledger.running()) == slots, f"{slots} tasks run")

    def occupy(self, worker: Worker, tasks: list[str], seconds: float) -> list[str]:
        """Send tasks of which the first, one for each slot of the worker, take so long; wait until those run.

        Returns them. The others are short: what they wait for is the same, and nobody waits for them later.
        """
        slots = worker.spec.slots_in_truth
        running, waiting = tasks[:slots], tasks[slots:]
        self.send(*running, args=[seconds])
        self.send(*waiting, args=[0.5])
        self.running(*running)
        return running

    def settle(self, seconds: float = 60.0) -> None:
        """Wait until every task that was sent has ended as often as it should."""
        self.wait_for(self.ledger.settled, "all tasks end", seconds)

    def cut(self, *kinds: str) -> None:
        """Close all connections but the rig's and the sender's: a sender that is cut sends again, and twice.

        `kinds` are those of CLIENT LIST, normal and pubsub without any.
        """
        own, wanted = self.client.client_id(), kinds or ("normal", "pubsub")
        listed = [one for kind in wanted for one in self.client.client_list(_type=kind)]
        with self.client.pipeline(transaction=False) as pipe:
            for one in listed:
                if one["name"] != SENDER and int(one["id"]) != own:
                    pipe.client_kill_filter(_id=one["id"])
            pipe.execute()

    def account(self, **options: Any) -> Account:
        """Stop every worker in good order and settle the account."""
        for worker in self.workers:
            if worker.alive:
                worker.signal(15)  # type: ignore[arg-type]
        for worker in self.workers:
            if worker.process is not None:
                worker.gone()
        return self.ledger.account(self.client, self.prefix, **options)

    def queue(self, name: str = "celery", step: int = 0) -> list[str]:
        """The ids in one list of a queue, the next to be consumed first."""
        key = f"{self.prefix}{name}" + (f"\x06\x16{step}" if step else "")
        return [json.loads(text)["headers"]["id"] for text in reversed(self.client.lrange(key, 0, -1))]

    def messages(self, name: str = "celery", step: int = 0) -> list[dict[str, Any]]:
        """The messages in one list of a queue, the next to be consumed first."""
        key = f"{self.prefix}{name}" + (f"\x06\x16{step}" if step else "")
        return [json.loads(text) for text in reversed(self.client.lrange(key, 0, -1))]

    def dead(self, queue: str = "celery") -> list[dict[str, Any]]:
        """The dead letters of a queue, the oldest first."""
        return [json.loads(text) for text in reversed(self.client.lrange(f"{self.prefix}celeriac:dead:{queue}", 0, -1))]

    def processes(self) -> dict[str, dict[str, Any]]:
        """The registry of this pool."""
        return {str(name): json.loads(text) for name, text in self.client.hgetall(self._key("processes")).items()}

    def held(self, worker: Worker) -> list[str]:
        """The ids in the worker's own unacked hash, in the order of their delivery."""
        process = (worker.report() or {})["process"]
        scores: dict[str, float] = dict(self.client.zscan_iter(f"{self.prefix}unacked_index.{process}"))
        # A message that was started has 1e12 added to the time of its delivery.
        tags = sorted(scores, key=lambda tag: scores[tag] % 1e12)
        texts = self.client.hmget(f"{self.prefix}unacked.{process}", tags) if tags else []
        return [json.loads(text)[0]["headers"]["id"] for text in texts if text]

    def explain(self) -> str:
        """What every worker said last, and the lists in Redis."""
        keys = sorted(str(key) for key in self.client.scan_iter("*"))
        state = f"running {self.ledger.running()}, keys {keys}, " + str(
            sorted((self.ledger.sent - type(self.ledger.sent)(self.ledger.ended())).elements())[:20]
        )
        return "\n\n".join([state, *(worker.explain() for worker in self.workers)])

    def close(self) -> None:
        """End every process."""
        for worker in self.workers:
            worker.kill()
        self.sender.close()
        self.client.close()

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _key(self, name: str) -> str:
        return f"{self.prefix}celeriac:{self.pool_uid}:{name}"

    def _make_sender(self) -> Celery:
        app = Celery("sender", broker=self.place.broker, set_as_current=False)
        app.conf.update(self.place.config)
        options = self.place.config.get("broker_transport_options", {})
        if "result_backend" in self.place.config:
            app.conf.result_backend = silent(self.place.config["result_backend"])
        app.conf.broker_transport_options = {**options, "global_keyprefix": self.prefix, "client_name": SENDER}
        return app
