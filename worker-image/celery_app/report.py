"""See what became of a run: `python -m celery_app.report --help`."""

import itertools
import json
import sys
import time
from dataclasses import asdict
from typing import NoReturn

import click

from celery_app import PRIORITY_STEPS, QUEUES
from celery_app.ledger import POLL_SECONDS, Entry, QueueAccount, account, connect, follow, read

SEPARATOR = "\x06\x16"  # between a queue and its priority step, as kombu writes it
COLUMNS = ("queue", "sent", "waiting", "running", "retried", "succeeded", "failed", "twice", "pods", "peak")


def row(queue: QueueAccount) -> tuple[str | int, ...]:
    """The figures of one queue under COLUMNS."""
    waiting, running = len(queue.unstarted), len(queue.unfinished)
    ends = (queue.retried, queue.succeeded, len(queue.failed), len(queue.doubled))
    return queue.queue, queue.sent, waiting, running, *ends, len(queue.pods), queue.peak


def table(accounts: dict[str, QueueAccount]) -> str:
    """The accounts as aligned text."""
    rows = [COLUMNS, *(row(queue) for queue in accounts.values())]
    return "\n".join(f"{name!s:<16}" + "".join(f"{figure!s:>11}" for figure in rest) for name, *rest in rows)


def stream(run: str) -> NoReturn:
    """Print for programs, one JSON object per line: each entry of the ledger, and the queues as often as they change.

    {"entry": {"event": "started", ...}}    {"queues": {"ml_service": 12, ...}}
    """
    last, lengths = "0", None
    while True:
        last, entries = read(run, after=last)
        for entry in entries:
            print(json.dumps({"entry": asdict(entry)}))
        if lengths != (lengths := queue_lengths()):
            print(json.dumps({"queues": lengths}))
        sys.stdout.flush()
        time.sleep(POLL_SECONDS)


def queue_lengths() -> dict[str, int]:
    """Messages in the Redis lists of each queue, all priorities together; reserved and running ones are not there."""
    with connect().pipeline(transaction=False) as pipeline:
        for queue, step in itertools.product(QUEUES, PRIORITY_STEPS):
            pipeline.llen(f"{queue}{SEPARATOR}{step}" if step else queue)
        lengths = iter(pipeline.execute())
    return {queue: sum(next(lengths) for _step in PRIORITY_STEPS) for queue in QUEUES}


def follow_table(run: str) -> list[Entry]:
    """Print the table each time the ledger has grown; returns all entries once every task that was sent has ended."""
    entries: list[Entry] = []
    for new in follow(run):
        entries += new
        accounts = account(entries)
        click.echo(table(accounts) + "\n")
        if not any(queue.unstarted or queue.unfinished for queue in accounts.values()):
            break
    return entries


@click.command()
@click.argument("run")
@click.option("--wait", is_flag=True, help="Show the table as it grows until every task has ended.")
@click.option("--json", "as_json", is_flag=True, help="Print ledger and queue lengths as they change, for ever.")
def main(run: str, wait: bool, as_json: bool) -> None:
    """Account for every task of RUN, the name that celery_app.send printed.

    Exits with 1 when a task was lost, is unfinished, failed or ran twice. The ledger is in CELERY_BROKER_URL.
    """
    if as_json:
        stream(run)
    found = follow_table(run) if wait else read(run)[1]
    if not found:
        raise click.ClickException(f"there is no run {run!r} in the ledger: was it sent to this CELERY_BROKER_URL?")
    accounts = account(found)
    if not wait:
        click.echo(table(accounts))
    problems = [problem for queue in accounts.values() for problem in queue.problems]
    if problems:
        raise click.ClickException("; ".join(problems))
    click.echo("every task that was sent succeeded, and none ran twice")


if __name__ == "__main__":
    main()
