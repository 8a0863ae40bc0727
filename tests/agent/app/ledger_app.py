"""The Celery application of these tests, for the environments of all Celery versions.

Its configuration is the JSON in LEDGER_APP_CONFIG. Every execution of a task writes a line when its body starts and one
when it ends into the file LEDGER_FILE: one write() each to a file open for appending, which the kernel keeps whole.
"""

import asyncio
import functools
import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from celery import Celery, Task
from celery.exceptions import Ignore, Reject, Retry, WorkerShutdown
from celery.worker.request import Request
from kombu.common import Broadcast
from kombu.entity import Exchange, Queue

import_module("replaced")  # a command of remote control
CONFIG = json.loads(os.environ.get("LEDGER_APP_CONFIG", "{}"))
FILE = os.open(os.environ["LEDGER_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

app = Celery("ledger_app")
app.conf.update(CONFIG)
if os.environ.get("LEDGER_APP_EXCHANGES"):
    TOPIC = Exchange("reports", type="topic")
    app.conf.task_queues = [
        Queue("celery", routing_key="celery"),
        Queue("everything", TOPIC, routing_key="#"),
        Queue("invoices", TOPIC, routing_key="invoice.*"),
        Broadcast("everyone"),
    ]


def write(event: str, request: Any, name: str) -> None:
    """One line: what happened, to which attempt of which task, where, and when by the clock of the machine."""
    line = {
        "event": event,
        "task": request.id,
        "attempt": request.retries,
        "name": name,
        "pod": os.environ.get("CELERIAC_POD_NAME") or request.hostname,
        "pid": os.getpid(),
        "at": time.monotonic(),
        "redelivered": bool((request.delivery_info or {}).get("redelivered")),
    }
    os.write(FILE, (json.dumps(line) + "\n").encode())


def task(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """A task whose every execution stands in the ledger; it gets itself as its first argument."""

    def decorate(body: Callable[..., Any]) -> Any:
        @functools.wraps(body)
        def recorded(self: Any, *args: Any, **kwargs: Any) -> Any:
            write("started", self.request, self.name)
            end = "failed"
            try:
                result = body(self, *args, **kwargs)
                end = "ended"
                return result
            except Retry:
                end = "retried"
                raise
            except options.get("autoretry_for", ()):
                end = "failed" if self.request.retries >= self.max_retries else "retried"
                raise
            finally:
                write(end, self.request, self.name)

        return app.task(bind=True, **options)(recorded)

    return decorate


@task()
def work(self: Any, seconds: float = 0.0, padding: str = "") -> float:
    """Wait, as for a database or a service."""
    time.sleep(seconds)
    return seconds


@task(rate_limit="30/m")
def limited(self: Any) -> None:
    """At most one in two seconds on each worker."""


@task(max_retries=3)
def again(self: Any, times: int, countdown: float) -> None:
    """Ask for a retry in `countdown` seconds, `times` times."""
    if self.request.retries < times:
        raise self.retry(countdown=countdown)


@task(autoretry_for=(ValueError,), max_retries=3, retry_backoff=False, default_retry_delay=1)
def unsteady(self: Any, times: int) -> int:
    """Fail `times` times, and leave the retries to Celery."""
    if self.request.retries < times:
        raise ValueError("as intended")
    return times


@task()
def step(self: Any, before: int, seconds: float) -> int:
    """Wait, and count the steps of a chain."""
    time.sleep(seconds)
    return before + 1


@task()
def hold_the_gil(self: Any, seconds: float) -> None:
    """Compute without letting another thread run but every ten seconds."""
    before, until = sys.getswitchinterval(), time.monotonic() + seconds
    sys.setswitchinterval(10)
    try:
        while time.monotonic() < until:
            pass
    finally:
        sys.setswitchinterval(before)


@task(acks_late=True, reject_on_worker_lost=True)
def poison(self: Any, seconds: float = 0) -> None:
    """Kill the process that runs it after some seconds, as the kernel does when memory is short."""
    time.sleep(seconds)
    os.kill(os.getpid(), 9)


@task()
def poison_by_config(self: Any) -> None:
    """Kill the process that runs it; what becomes of it then the configuration says."""
    os.kill(os.getpid(), 9)


@task(reject_on_worker_lost=False)
def never_again(self: Any, seconds: float) -> None:
    """Wait; whatever kills it, it is not to run again."""
    time.sleep(seconds)


@task(time_limit=1)
def too_long(self: Any) -> None:
    """Run into the hard time limit."""
    time.sleep(30)


@task()
def escape(self: Any, kind: str) -> None:
    """Raise what is no Exception: Celery's pools pass it on in ways of their own."""
    if kind == "exit":
        sys.exit(3)
    if kind == "timeout":
        import gevent  # type: ignore[import-untyped]

        raise gevent.Timeout(1)
    if kind == "greenlet":
        import greenlet  # type: ignore[import-untyped]

        raise greenlet.GreenletExit
    raise {"interrupt": KeyboardInterrupt, "cancelled": asyncio.CancelledError, "shutdown": WorkerShutdown}[kind]


class ExitsOnFailure(Task):  # type: ignore[misc]
    """A task whose handler of failures ends the process, as it believes."""

    def on_failure(self, *args: Any) -> None:
        """Called by Celery in the slot that ran the task."""
        sys.exit(1)


@task(base=ExitsOnFailure)
def fail_and_exit(self: Any) -> None:
    """Fail, and exit in the handler of the failure."""
    raise ValueError("as intended")


@task()
def fails(self: Any) -> None:
    """Fail, as tasks do."""
    raise ValueError("as intended")


@task()
def rejects(self: Any, requeue: bool) -> None:
    """Reject the message."""
    raise Reject("as intended", requeue=requeue)


@task()
def ignores(self: Any) -> None:
    """Ask Celery to forget the task."""
    raise Ignore


class RaisesAfterwards(Task):  # type: ignore[misc]
    """A task whose handler of its end fails."""

    def after_return(self, *args: Any) -> None:
        """Called by Celery when the task has ended."""
        raise RuntimeError("as intended")


@task(base=RaisesAfterwards)
def bad_handler(self: Any) -> None:
    """End, and fail in the handler of the end."""


class SlowlyAcknowledged(Request):  # type: ignore[misc]
    """A request whose acknowledgement is long on its way, as over a slow network."""

    def acknowledge(self) -> None:
        """Acknowledge after two seconds."""
        time.sleep(2)
        super().acknowledge()


@task(acks_late=True, Request=SlowlyAcknowledged)
def acknowledged_slowly(self: Any) -> None:
    """End at once, and be acknowledged later."""


def run_by_strategy(task: str, seconds: float) -> None:
    """The body of a task that Celery knows nothing about."""
    request = SimpleNamespace(id=task, retries=0, hostname="", delivery_info={})
    write("started", request, "by_own_strategy")
    time.sleep(seconds)
    write("ended", request, "by_own_strategy")


def own_strategy(task: Any, app: Celery, consumer: Any) -> Callable[..., None]:
    """Hand the message to the pool past Celery's requests, as celery-batches does."""

    def handle(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **_: Any) -> None:
        request = Request(
            message, on_ack=ack, on_reject=reject, app=app, task=task, connection_errors=consumer.connection_errors
        )
        consumer.pool.apply_async(
            run_by_strategy,
            (request.id, request.args[0]),
            accept_callback=lambda *args: None,
            callback=lambda *args: request.acknowledge(),
        )

    return handle


@app.task(acks_late=True, Strategy=f"{__name__}:own_strategy")
def by_own_strategy(seconds: float) -> None:
    """Run by `own_strategy` only."""


@task()
def read_a_mailbox(self: Any, mailbox: str, seconds: float) -> int:
    """Take one message off a queue by a connection of one's own, and acknowledge it after some seconds."""
    with app.connection_for_read() as connection, connection.SimpleQueue(mailbox) as queue:
        message = queue.get(timeout=10)
        time.sleep(seconds)
        message.ack()
    return 1


@task()
def gather(self: Any, results: list[Any]) -> int:
    """The end of a chord."""
    return len(results)
