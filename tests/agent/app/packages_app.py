"""The application of the stories about packages that stand beside Celery, each in PACKAGES loaded as its manual says.

What the tracers see goes, line by line, into the file TRACE_FILE and nowhere else. The environments of these tests have
the packages; the one that checks types has not.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ledger_app = import_module("ledger_app")
app, task, write = ledger_app.app, ledger_app.task, ledger_app.write

PACKAGES = os.environ["PACKAGES"].split(",")
FLUSH_EVERY, FLUSH_SECONDS = 5, 2


def seen(name: str) -> None:
    """Note what a tracer has seen, of this process or a child of it."""
    with Path(os.environ["TRACE_FILE"]).open("a") as file:
        file.write(f"{name}\n")


def celery_batches() -> None:
    """A task that runs for five messages at once, or after two seconds for fewer."""

    def batched(requests: Iterable[Any]) -> None:
        requests = list(requests)
        for event in ("started", "ended"):
            for each in requests:
                record = SimpleNamespace(id=each.id, retries=0, hostname="", delivery_info=each.delivery_info)
                write(event, record, f"batch-of-{len(requests)}")
            time.sleep(0.5 if event == "started" else 0)

    batches = import_module("celery_batches").Batches
    app.task(base=batches, name="batched", flush_every=FLUSH_EVERY, flush_interval=FLUSH_SECONDS)(batched)


def order(name: str, numbers: Iterable[int]) -> None:
    """Send a task for each number as its package does; what it refuses is a line of the tracer's."""
    for number in numbers:
        try:
            sent = app.tasks[name].apply_async([number], task_id=f"{name}-{number}")
            seen(f"sent {sent.id}")
        except Exception as error:
            seen(f"refused {type(error).__name__}")


def only_once(base: Any, name: str) -> None:
    """A task that is not sent while its like waits or runs, and one that sends it."""

    @task(base=base, name=name)  # type: ignore[untyped-decorator]
    def unique(self: Any, number: int) -> None:
        time.sleep(0.5)

    @app.task(name=f"order_{name}")  # type: ignore[untyped-decorator]
    def order_them(numbers: list[int]) -> None:
        order(name, numbers)


def celery_once() -> None:
    """With its locks in the broker's database."""
    settings = {"url": os.environ["CELERY_BROKER_URL"], "default_timeout": 60}
    app.conf.ONCE = {"backend": "celery_once.backends.Redis", "settings": settings}
    only_once(import_module("celery_once").QueueOnce, "once")


def celery_singleton() -> None:
    """The same; it answers with the task that is there."""
    app.conf.singleton_backend_url = os.environ["CELERY_BROKER_URL"]
    app.conf.singleton_raise_on_duplicate = True
    only_once(import_module("celery_singleton").Singleton, "singleton")


def celery_aio_pool() -> None:
    """A coroutine as a task, for its pool."""

    @app.task(bind=True, name="coroutine")  # type: ignore[untyped-decorator]
    async def coroutine(self: Any, seconds: float) -> None:
        write("started", self.request, "coroutine")
        await asyncio.sleep(seconds)
        write("ended", self.request, "coroutine")


def sentry() -> None:
    """Errors and traces of tasks and of Redis."""
    sentry_sdk = import_module("sentry_sdk")
    integrations = [
        import_module("sentry_sdk.integrations.celery").CeleryIntegration(monitor_beat_tasks=True),
        import_module("sentry_sdk.integrations.redis").RedisIntegration(),
    ]

    class Transport(import_module("sentry_sdk.transport").Transport):  # type: ignore[misc]
        def capture_envelope(self, envelope: Any) -> None:
            for event in filter(None, (item.get_transaction_event() for item in envelope.items)):
                seen(event["transaction"])

    sentry_sdk.init(
        dsn="http://public@127.0.0.1:9/1", integrations=integrations, transport=Transport, traces_sample_rate=1.0
    )


def opentelemetry() -> None:
    """Spans of tasks and of Redis."""
    sdk = import_module("opentelemetry.sdk.trace")

    class Processor(sdk.SpanProcessor):  # type: ignore[misc, name-defined]
        def on_end(self, span: Any) -> None:
            seen(span.name)

    provider = sdk.TracerProvider()
    provider.add_span_processor(Processor())
    for name in ("celery", "redis"):
        instrumentation = import_module(f"opentelemetry.instrumentation.{name}")
        getattr(instrumentation, f"{name.title()}Instrumentor")().instrument(tracer_provider=provider)


def ddtrace() -> None:
    """Spans of tasks, of kombu and of Redis."""
    trace = import_module("ddtrace.trace")

    class Filter(trace.TraceFilter):  # type: ignore[misc, name-defined]
        def process_trace(self, spans: Any) -> None:
            for span in spans:
                seen(f"{span.name} {span.resource}")

    trace.tracer.configure(trace_processors=[Filter()])
    import_module("ddtrace").patch(celery=True, redis=True, kombu=True)


LOADERS: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (celery_batches, celery_once, celery_singleton, celery_aio_pool, sentry, opentelemetry, ddtrace)
}
for package in PACKAGES:
    LOADERS[package]()
