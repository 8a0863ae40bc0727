"""See what became of a run: `python -m celery_app.report --help`."""

import json
from dataclasses import asdict

import click

from celery_app.ledger import Entry, QueueAccount, account, follow, read

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


def print_entries(entries: list[Entry]) -> None:
    """Print entries, one JSON object per line."""
    for entry in entries:
        print(json.dumps(asdict(entry)), flush=True)


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
@click.option("--entries", is_flag=True, help="Print the ledger itself as it grows, one JSON object per entry; no end.")
def main(run: str, wait: bool, entries: bool) -> None:
    """Account for every task of RUN, the name that celery_app.send printed.

    Exits with 1 when a task was lost, is unfinished, failed or ran twice. The ledger is in CELERY_BROKER_URL.
    """
    if entries:
        for new in follow(run):
            print_entries(new)
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
