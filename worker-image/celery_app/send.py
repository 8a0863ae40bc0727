"""Send demo tasks: `python -m celery_app.send --help`."""

import itertools
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click
from celery import chord
from celery.canvas import Signature

from celery_app import QUEUES, app, batch, default, email_service, ml_tasks
from celery_app.ledger import Event, entry_now, record
from celery_app.recorded import RUN_HEADER

EXAMPLES = """
\b
Examples:
  40 tasks of 2 s for the solo pool:
    python -m celery_app.send --queue ml_service --count 40 --seconds 2
  something for everybody, at 5 tasks a second:
    python -m celery_app.send --count 100 --rate 5
  urgent mail overtakes the rest (0 is the most urgent, 9 the least):
    python -m celery_app.send --queue email_service --count 200 --priority 9
    python -m celery_app.send --queue email_service --count 5 --priority 0
  reminders that are due in 90 s:
    python -m celery_app.send --queue celery --count 10 --countdown 90
  a job of 30 parts on the queue batch whose callback runs on the default queue:
    python -m celery_app.send --queue batch --chord --count 30
\b
Then see what became of them: python -m celery_app.report RUN
"""


@dataclass(frozen=True)
class Order:
    """What to send to each queue; times are in seconds, `priority` 0 is consumed first."""

    count: int
    seconds: float
    cpu_share: float = 1.0
    priority: int = 0
    countdown: float = 0.0
    failures: int = 0


def signatures(queue: str, order: Order) -> list[Signature]:
    """One signature per task that `order` asks for on `queue`."""
    numbers = range(order.count)
    work = {"seconds": order.seconds, "cpu_share": order.cpu_share}
    match queue:
        case "email_service":
            mail = {"seconds": order.seconds, "failures": order.failures}
            made = [email_service.deliver.s(f"reader-{number}@example.com", **mail) for number in numbers]
        case "ml_service":
            made = [ml_tasks.classify.s(first=20 * number, **work) for number in numbers]
        case "batch":
            made = [batch.crunch.s(number, **work) for number in numbers]
        case "celery":
            made = [default.remind.s(f"reminder {number}", seconds=order.seconds) for number in numbers]
        case _:
            raise ValueError(f"queue {queue!r} has no demo task: choose one of {', '.join(QUEUES)}")
    options: dict[str, Any] = {"priority": order.priority}
    if order.countdown:
        options["countdown"] = order.countdown
    return [signature.set(**options) for signature in made]


def enter(run: str, signature: Signature, queue: str) -> Signature:
    """Give the signature its task id and the run's header, and write it into the ledger as sent."""
    task = str(uuid.uuid4())
    signature.set(task_id=task, headers={RUN_HEADER: run})
    name = signature.task
    record(run, entry_now(Event.SENT, task=task, attempt=0, execution=f"sent:{task}", name=name, queue=queue))
    return signature


def send(run: str, queues: tuple[str, ...], order: Order, rate: float | None = None) -> Iterator[str]:
    """Send the order to each queue in turn, one task to each at a time; yields the queue of each task once it is sent.

    `rate` is in tasks per second over all queues, None for as fast as possible.
    """
    tasks = [[(queue, signature) for signature in signatures(queue, order)] for queue in queues]
    began = time.monotonic()
    for number, (queue, signature) in enumerate(itertools.chain.from_iterable(zip(*tasks, strict=True))):
        if rate:
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
        enter(run, signature, queue).apply_async()
        yield queue


def send_chord(run: str, order: Order) -> None:
    """Send the order's parts to the queue batch and a callback, for when all are done, to the default queue."""
    parts = [enter(run, signature, "batch") for signature in signatures("batch", order)]
    chord(parts)(enter(run, default.summarize.s(), "celery"))
    # Celery listens for the parts' results until Python ends, and would then unsubscribe with half of Python gone.
    listener = app.backend.result_consumer
    listener.stop()
    listener.subscribed_to.clear()


@click.command(epilog=EXAMPLES)
@click.option("--queue", "queues", multiple=True, type=click.Choice(QUEUES), help="Repeat it; default: all four.")
@click.option("--count", default=10, show_default=True, type=click.IntRange(1, 100_000), help="Tasks per queue.")
@click.option("--seconds", default=1.0, show_default=True, type=click.FloatRange(0), help="How long each task runs.")
@click.option(
    "--cpu-share",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Part of that time spent computing (ml_service, batch); less spares a small machine.",
)
@click.option("--priority", default=0, show_default=True, type=click.IntRange(0, 9), help="0 is consumed first.")
@click.option("--countdown", default=0.0, type=click.FloatRange(0), help="Seconds until the tasks are due (ETA).")
@click.option("--failures", default=0, type=click.IntRange(0, 5), help="Attempts refused per mail, to see retries.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Tasks per second; default: all at once.")
@click.option(
    "--chord", "as_chord", is_flag=True, help="Send the batch as a chord with a callback; --queue batch only."
)
@click.option("--run", help="Name of the run in the ledger; default: a new one.")
def main(queues: tuple[str, ...], rate: float | None, as_chord: bool, run: str | None, **fields: Any) -> None:
    """Send demo tasks and write them into the ledger, so that none can get lost or run twice unnoticed.

    The broker is CELERY_BROKER_URL.
    """
    order, run = Order(**fields), run or uuid.uuid4().hex[:8]
    if as_chord:
        if queues != ("batch",):
            raise click.UsageError("--chord sends to the queue batch: add --queue batch, and no other queue")
        send_chord(run, order)
    else:
        chosen = tuple(dict.fromkeys(queues)) or QUEUES
        with click.progressbar(send(run, chosen, order, rate), length=order.count * len(chosen), label="sent") as bar:
            for _queue in bar:
                pass
    click.echo(f"run {run}: see python -m celery_app.report {run}")


if __name__ == "__main__":
    main()
