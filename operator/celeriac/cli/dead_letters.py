"""`celeriac dead-letters`: tasks that killed worker after worker, to look at and to send again."""

import click

from celeriac.api.words import foreign
from celeriac.brokers.protocol import UNROUTABLE, DeadLetters
from celeriac.cli.broker_place import on_broker
from celeriac.cli.printing import printable
from celeriac.pool.model import QueueLayout

SHOWN = 100

key_prefix_option = click.option(
    "--key-prefix", default="", metavar="TEXT", help="The workers' global_keyprefix (spec.broker.keyPrefix)."
)


@click.group("dead-letters")
def dead_letters() -> None:
    """Look at the dead letters in a Redis, send them again, or throw them away.

    A task that was running in spec.redelivery.maxAttempts worker processes when they died (out of memory, a crash) is
    not put back into its queue any more, so that it cannot kill worker after worker: it becomes a dead letter of its
    queue. Messages of which nobody can say whose they are stand under the name "unroutable".

    \b
    Examples:
      export CELERY_BROKER_URL=redis://redis:6379/0
      celeriac dead-letters list               queues with dead letters, and how many
      celeriac dead-letters list mail          the tasks among them, the oldest first
      celeriac dead-letters requeue mail       send them again, with all their attempts
      celeriac dead-letters purge mail --yes   throw them away
    """


@dead_letters.command("list")
@click.argument("queue", required=False)
@key_prefix_option
@on_broker(lambda broker: broker.dead_letters)
async def list_letters(letters: DeadLetters, queue: str | None, key_prefix: str) -> None:
    """List the queues that have dead letters, or the tasks among those of QUEUE: id, name and why; no arguments.

    Without QUEUE all keys of the database are looked through.
    """
    if queue is None:
        counts = await letters.queues(QueueLayout(key_prefix))
        for name, count in counts.items():
            click.echo(f"{count:>7}  {foreign(name)}")
        if not counts:
            click.echo("no dead letters", err=True)
        return
    for letter in await letters.oldest(QueueLayout(key_prefix), queue, SHOWN):
        click.echo(f"{foreign(letter.id)}  {foreign(letter.task)}  {foreign(letter.reason)}")
    count = await letters.count(QueueLayout(key_prefix), queue)
    click.echo(f"{count} dead letter(s)" + (f", the oldest {SHOWN} shown" if count > SHOWN else ""), err=True)


ids = click.option("--id", "ids", multiple=True, metavar="ID", help="Of this task alone; may be given several times.")


@dead_letters.command()
@click.argument("queue")
@ids
@click.option("--to", metavar="QUEUE", help=f"Another queue than their own; needed for {UNROUTABLE}.")
@click.option("--separator", default=QueueLayout().separator, help="Transport option `sep`, if the workers set it.")
@click.option(
    "--priority-step",
    "steps",
    multiple=True,
    type=click.IntRange(0, 9),
    help="Transport option `priority_steps`, if the workers set it; once for each step.",
)
@key_prefix_option
@on_broker(lambda broker: broker.dead_letters)
async def requeue(
    letters: DeadLetters,
    queue: str,
    ids: tuple[str, ...],
    to: str | None,
    separator: str,
    steps: tuple[int, ...],
    key_prefix: str,
) -> None:
    """Put the dead letters of QUEUE back into it, behind what waits there, the oldest first: all, or each --id.

    Their deaths are forgotten: each has all its attempts again. Mend what killed the workers first.
    """
    if queue == UNROUTABLE and to is None:
        raise click.UsageError(f"nobody knows to which queue {UNROUTABLE} ones belong: name it with --to QUEUE")
    layout = QueueLayout(key_prefix, separator, tuple(sorted(steps)) or QueueLayout().priority_steps)
    count = await letters.requeue(layout, queue, to=to, ids=ids)
    click.echo(f"{count} dead letter(s) put back into {printable(to or queue)}")


@dead_letters.command()
@click.argument("queue")
@ids
@click.option("--yes", is_flag=True, help="Needed: they cannot be brought back.")
@key_prefix_option
@on_broker(lambda broker: broker.dead_letters)
async def purge(letters: DeadLetters, queue: str, ids: tuple[str, ...], yes: bool, key_prefix: str) -> None:
    """Throw away dead letters of QUEUE, for good: all, or those with an --id."""
    layout = QueueLayout(key_prefix)
    if not yes:
        found = await letters.oldest(layout, queue, len(ids), ids=ids) if ids else ()
        count = len(found) if ids else await letters.count(layout, queue)
        raise click.UsageError(
            f"this would throw away {count} dead letter(s) of {printable(queue)} for good: add --yes"
        )
    click.echo(f"{await letters.purge(layout, queue, ids=ids)} dead letter(s) thrown away")
