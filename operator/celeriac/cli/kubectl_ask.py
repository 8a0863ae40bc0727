"""The verbs of `kubectl celery` that ask the operator: live figures, queues, decisions, dead letters."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

from celeriac.brokers.protocol import UNROUTABLE
from celeriac.cli import choosing
from celeriac.cli.answers_text import (
    LETTERS,
    QUEUES,
    TOP,
    TOP_WIDE,
    decided,
    decision_at,
    explained,
    scaling_at,
    table,
)
from celeriac.cli.asking import NoAnswer, Question, ask
from celeriac.cli.choosing import AnyOrder, on_cluster, output, pool_argument, queue_argument
from celeriac.cli.pools_api import Pools
from celeriac.cli.printing import print_table, print_whole
from celeriac.cli.words import explanation

WATCH_SECONDS: Final = 2.0
SHOWN: Final = 100

watch = click.option("-w", "--watch", is_flag=True, help="Print it again every two seconds, until Ctrl-C.")


@click.command()
@pool_argument(required=False)
@choosing.all_namespaces
@choosing.selector
@watch
@output("wide", "json", "yaml")
@on_cluster
def top(pools: Pools, name: str | None, all_namespaces: bool, selector: str, watch: bool, output: str | None) -> None:
    """Show the live figures of the pools, or of pool NAME: the operator reads them twice a second.

    \b
    Examples:
      kubectl celery top
      kubectl celery top -A -o wide
      kubectl celery top ml --watch
    """
    chosen = [pools.get(name)] if name else pools.list(all_namespaces=all_namespaces, selector=selector)
    if not chosen:
        raise click.ClickException(pools.none(all_namespaces=all_namespaces, selector=selector))
    for moment in _rounds(watch):
        rows = _live(pools, chosen)
        if not print_whole(rows, output):
            columns = TOP_WIDE if output == "wide" else TOP
            print_table(table((("NAMESPACE", "namespace"), *columns) if all_namespaces else columns, rows))
        if watch and output is None:
            click.echo(f"{moment:%H:%M:%S}\n", err=True)


def _live(pools: Pools, chosen: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One request for a pool, or for all of a namespace."""
    if len(chosen) == 1:
        namespace = chosen[0]["metadata"]["namespace"]
        return [{"namespace": namespace, **row} for row in ask(pools, "Top", chosen[0])["result"]["pools"]]
    names = {(each["metadata"]["namespace"], each["metadata"]["name"]) for each in chosen}
    rows = []
    for namespace in sorted({namespace for namespace, _ in names}):
        found = ask(pools, "Top", namespace=namespace)["result"]["pools"]
        rows += [{"namespace": namespace, **row} for row in found if (namespace, row["name"]) in names]
    return rows


def _rounds(watch: bool) -> Iterator[datetime]:
    """One moment, or one every two seconds."""
    yield datetime.now(UTC)
    while watch:
        time.sleep(WATCH_SECONDS)
        yield datetime.now(UTC)


@click.command()
@pool_argument()
@click.option("--at", metavar="TIME", help="What was decided by then: 14:05, or 2026-03-01T14:05:00Z.")
@watch
@output("json", "yaml")
@on_cluster
def explain(pools: Pools, name: str, at: str | None, watch: bool, output: str | None) -> None:
    """Explain how the last decision about pool NAME came about, what it waits for, and what would change it.

    The operator keeps the last 32 decisions of a pool while it runs; of what was before, the events of the pool tell
    (an hour as a rule). Where it cannot be asked, the status tells what it wrote there.

    \b
    Examples:
      kubectl celery explain ml
      kubectl celery explain ml --watch
      kubectl celery explain ml --at 14:05
    """
    moment = _moment(at) if at else None
    if moment is not None and watch:
        raise click.UsageError("--at is about the past: it does not go on, leave out --watch")
    pool = pools.get(name)
    try:
        with Question(pools, "Explain", pool) as question:
            for now in _rounds(watch):
                found = question.answer()["result"]
                if moment is not None:
                    _tell_decision(pools, pool, found["decisions"], moment, output)
                elif not print_whole(found, output):
                    click.echo("\n".join(explained(found, now)))
    except NoAnswer as error:
        if moment is not None:
            click.echo(error.message, err=True)
            _tell_scaling(pools, pool, moment, "no operator tells what it decided")
            return
        click.echo(f"{error.message}; this is what the status says", err=True)
        if not print_whole({"status": pool.get("status", {})}, output):
            for line in explanation(pool, datetime.now(UTC)):
                click.echo(line)


def _moment(text: str) -> datetime:
    """A time of the last day, or the whole of it; of this machine's zone where it names none."""
    now = datetime.now().astimezone()
    try:
        moment = datetime.fromisoformat(text if "-" in text else f"{now:%Y-%m-%d}T{text}")
    except ValueError:
        raise click.BadParameter(f"{text!r} is no time: 14:05, or 2026-03-01T14:05:00Z", param_hint="--at") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)
    return moment - timedelta(days=1) if "-" not in text and moment > now else moment


def _tell_decision(
    pools: Pools, pool: dict[str, Any], entries: list[dict[str, Any]], moment: datetime, output: str | None
) -> None:
    found = decision_at(entries, moment)
    if found is None:
        first = f"this operator remembers decisions from {entries[0]['at']} on" if entries else "it remembers none"
        _tell_scaling(pools, pool, moment, first)
    elif not print_whole(found, output):
        click.echo(decided(found))


def _tell_scaling(pools: Pools, pool: dict[str, Any], moment: datetime, why: str) -> None:
    """What was decided is not known: the pool's events outlive an operator, and tell of each change of the replicas."""
    scaling = scaling_at(pools.events(pool), moment)
    if scaling is None:
        by = f"by {moment:%Y-%m-%d %H:%M:%S %Z}"
        raise click.ClickException(f"no decision {by}: {why}, and no event tells of a scaling by then")
    click.echo(f"{why}; the last scaling by then, as the events tell it:", err=True)
    click.echo(scaling)


@click.command()
@pool_argument()
@output("json", "yaml")
@on_cluster
def queues(pools: Pools, name: str, output: str | None) -> None:
    """Show the queues of pool NAME, each by itself.

    WAITING are messages in the lists. HELD are at workers, due and not acknowledged; SCHEDULED at workers until their
    ETA; DEFERRED in the lists with an ETA ahead; DEAD are dead letters. What workers with the agent hold is theirs:
    `kubectl celery top` shows it as running.

    \b
    Example:
      kubectl celery queues ml
    """
    found = ask(pools, "Queues", pools.get(name))["result"]
    if not print_whole(found["queues"], output):
        print_table(table(QUEUES, found["queues"]))


@click.group("dead-letters", cls=AnyOrder)
def dead_letters() -> None:
    """Look at the dead letters of a pool's queues, put them back, or delete them.

    A message that was running in too many workers when they died is not delivered again: it becomes a dead letter of
    its queue. Those of which nobody can say whose they are stand under the name "unroutable", for all pools of the
    broker. The operator reaches the broker; you need the role edit alone.

    \b
    Examples:
      kubectl celery dead-letters list ml                queues, and the tasks among their dead letters
      kubectl celery dead-letters show ml ID             one of them
      kubectl celery dead-letters requeue ml mail        all of a queue, with all their attempts
      kubectl celery dead-letters drop ml mail --id ID   delete one of them
    """


@dead_letters.command("list")
@pool_argument()
@queue_argument(required=False)
@click.option("--limit", type=click.IntRange(1, 500), default=SHOWN, show_default=True, help="Of each queue at most.")
@output("json", "yaml")
@on_cluster
def list_letters(pools: Pools, name: str, queue: str | None, limit: int, output: str | None) -> None:
    """List the dead letters of pool NAME, or of one QUEUE of it: id, task and why; no arguments."""
    rows = list(_letters(pools, pools.get(name), queue, limit))
    if print_whole(rows, output):
        return
    if not rows:
        click.echo("no dead letters", err=True)
        return
    print_table(table((("QUEUE", "queue"), *LETTERS), rows))


def _letters(
    pools: Pools, pool: dict[str, Any], queue: str | None, limit: int, **spec: Any
) -> Iterator[dict[str, Any]]:
    """Those of one queue, or of all that have some; `unroutable` ones too."""
    if queue is None:
        found = ask(pools, "Queues", pool)["result"]["queues"]
        wanted = [*(each["name"] for each in found if each["dead"]), UNROUTABLE]
    else:
        wanted = [queue]
    for each in wanted:
        letters = ask(pools, "DeadLetters", pool, queue=each, limit=limit, **spec)["result"]
        yield from ({"queue": each, **letter} for letter in letters["letters"])


@dead_letters.command()
@pool_argument()
@click.argument("id")
@output("json", "yaml")
@on_cluster
def show(pools: Pools, name: str, id: str, output: str | None) -> None:
    """Show one dead letter of pool NAME, by the id of its task; no arguments."""
    found = list(_letters(pools, pools.get(name), None, SHOWN, ids=[id]))
    if not found:
        raise click.ClickException(f"no dead letter of {name} has the id {id}: kubectl celery dead-letters list {name}")
    if not print_whole(found, output):
        for key in ("id", "task", "queue", "reason"):
            click.echo(f"{key + ':':<8} {found[0][key]}")


ids = click.option("--id", "ids", multiple=True, metavar="ID", help="Of this task alone; may be given several times.")


@dead_letters.command()
@pool_argument()
@queue_argument()
@ids
@click.option("--to", metavar="QUEUE", help=f"Into another queue of the pool; needed for {UNROUTABLE} ones.")
@on_cluster
def requeue(pools: Pools, name: str, queue: str, ids: tuple[str, ...], to: str | None) -> None:
    """Put the dead letters of QUEUE back into it, the oldest first: all of them, or those with an --id.

    Their deaths are forgotten: each has all its attempts again. Mend what killed the workers first.

    \b
    Examples:
      kubectl celery dead-letters requeue ml mail
      kubectl celery dead-letters requeue ml unroutable --to mail --id ID
    """
    if queue == UNROUTABLE and to is None:
        raise click.UsageError(f"nobody knows to which queue {UNROUTABLE} ones belong: name it with --to QUEUE")
    spec: dict[str, Any] = ({"ids": list(ids)} if ids else {}) | ({"to": to} if to else {})
    _tell_moved(name, queue, ids, ask(pools, "RequeueDeadLetters", pools.get(name), queue=queue, **spec))


@dead_letters.command()
@pool_argument()
@queue_argument()
@ids
@click.option("--all", "everything", is_flag=True, help="All of the queue; needed where no --id is given.")
@on_cluster
def drop(pools: Pools, name: str, queue: str, ids: tuple[str, ...], everything: bool) -> None:
    """Delete dead letters of QUEUE, for good: those with an --id, or --all."""
    if bool(ids) == everything:
        raise click.UsageError("name those to be deleted with --id, or all of them with --all")
    spec: dict[str, Any] = {"ids": list(ids)} if ids else {"all": True}
    _tell_moved(name, queue, ids, ask(pools, "DropDeadLetters", pools.get(name), queue=queue, **spec))


def _tell_moved(name: str, queue: str, ids: tuple[str, ...], answer: dict[str, Any]) -> None:
    if ids and not answer["result"]["count"]:
        cure = f"kubectl celery dead-letters list {name} {queue}"
        raise click.ClickException(f"no dead letter of {queue} has such an id: {cure}")
    click.echo(answer["message"])
