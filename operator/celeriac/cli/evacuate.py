"""`celeriac evacuate`: give back what workers hold that are gone, where no operator is there to do it."""

import asyncio
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import click
from rich import box
from rich.console import Console
from rich.table import Table

from celeriac.api.reasons import Reason
from celeriac.brokers.agents import NotAllRestored, Process, RegistryEntry, Restored, Traces
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import Salvage
from celeriac.cli.broker_place import on_broker
from celeriac.cli.printing import printable
from celeriac.pool.layouts import MAX_PRIORITY
from celeriac.pool.model import QueueLayout

WATCH_SECONDS = 3.0
"""An agent reports every second."""
PIPE_COLUMNS = 10_000


@dataclass(frozen=True, slots=True)
class Registered:
    """One registered process, and how many messages it holds, or why nobody knows.

    lives    it may have reported while it was watched
    audible  its reports can be read
    """

    process: Process
    holds: int | BrokerDoubt
    lives: bool
    audible: bool

    @property
    def name(self) -> str:
        """Where it belongs, and which start of which pod it is."""
        return printable(f"{self.process.namespace}/{self.process.pool} {self.process.process}")


@click.command()
@click.option("--key-prefix", default="", metavar="TEXT", help="The workers' global_keyprefix (spec.broker.keyPrefix).")
@click.option(
    "--watch",
    default=WATCH_SECONDS,
    show_default=True,
    type=click.FloatRange(min=1.5),
    metavar="SECONDS",
    help="How long to watch for reports. A task that never lets go of the interpreter can silence a living worker for"
    " longer: 30 is safer.",
)
@click.option("--yes", is_flag=True, help="Give back what the silent workers hold; without it they are only listed.")
@click.option(
    "--even-living",
    is_flag=True,
    help="With --yes: also what living workers hold. They go on with their tasks, so these RUN TWICE.",
)
@click.option("--separator", metavar="TEXT", help="Of workers that no registry knows: transport option `sep`.")
@click.option(
    "--priority-step",
    "steps",
    multiple=True,
    type=click.IntRange(0, MAX_PRIORITY),
    help="Of workers that no registry knows: transport option `priority_steps`, once for each step. Without these two"
    " their queues are taken to be laid out as those of a registered worker, or as kombu does.",
)
@on_broker(lambda broker: broker.salvage)
async def evacuate(
    salvage: Salvage,
    key_prefix: str,
    watch: float,
    yes: bool,
    even_living: bool,
    separator: str | None,
    steps: tuple[int, ...],
) -> None:
    """List the workers that are registered in a Redis, and give back what the gone ones among them hold.

    A worker with Celeriac's agent keeps its messages under keys of its own, which never expire: the operator gives
    them back to their queues when the pod is gone. This does the same by hand, without a cluster and without the
    operator: before Celeriac is removed for good, or where it cannot come back.

    A worker whose entry in the registry is gone (evicted by a full Redis, deleted) is found too, by its own keys: all
    keys of the database are looked through for that, which takes seconds where there are many.

    It looks twice: a worker whose report changed in between lives, and is left alone. Stop the workers first (scale
    their pools to zero): a message that is given back while it runs runs twice. It may be repeated, and may run beside
    an operator.

    \b
    Examples:
      export CELERY_BROKER_URL=redis://redis:6379/0
      celeriac evacuate                       who is registered, who is silent, who holds how much
      celeriac evacuate --yes                 give back what the silent ones hold
      celeriac evacuate --watch 30 --yes      be surer that they are gone
    """
    if even_living and not yes:
        raise click.UsageError("--even-living does nothing without --yes")
    workers, doubts = await _watch(salvage, Guess(key_prefix, separator, steps), watch)
    doubts = [*doubts, *(worker.holds for worker in workers if isinstance(worker.holds, BrokerDoubt))]
    for doubt in doubts:
        click.echo(f"{doubt.reason}: {printable(str(doubt))}", err=True)
    if workers:
        await _evacuate(salvage, workers, watch, yes=yes, even_living=even_living)
    elif not doubts:
        message = (
            f"no worker with the agent is registered under the key prefix {key_prefix!r}, nor are keys of one there"
        )
        click.echo(message, err=True)
    if doubts:
        raise click.ClickException("not all that is registered could be read, see above: it is left as it is")


async def _evacuate(
    salvage: Salvage, workers: Sequence[Registered], watch: float, *, yes: bool, even_living: bool
) -> None:
    _print(workers, watch)
    chosen = [worker for worker in workers if even_living or not worker.lives]
    if not yes:
        held = sum(worker.holds for worker in chosen if isinstance(worker.holds, int))
        click.echo(f"{len(chosen)} silent worker(s) hold {held} message(s): --yes gives them back", err=True)
        return
    for worker in workers:
        if worker.lives and not even_living:
            why = "it lives" if worker.audible else "its reports cannot be read, so that it may live"
            click.echo(f"{worker.name}: refused, {why}: stop it first (--even-living runs its tasks twice)", err=True)
    await _give_back(salvage, chosen)


@dataclass(frozen=True, slots=True)
class Guess:
    """How the queues are laid out of workers that no registry knows: what was said, else as a registered one has it."""

    key_prefix: str
    separator: str | None
    steps: tuple[int, ...]

    @property
    def registry(self) -> str:
        """See QueueLayout.registry."""
        return QueueLayout(self.key_prefix).registry

    def beside(self, registered: Sequence[Process]) -> QueueLayout:
        """The layout of such a worker beside these."""
        latest = max(registered, key=lambda each: each.started, default=None)
        layout = latest.layout if latest is not None else QueueLayout(self.key_prefix)
        return replace(
            layout,
            separator=self.separator or layout.separator,
            priority_steps=tuple(sorted({0, *self.steps})) if self.steps else layout.priority_steps,
        )


@dataclass(frozen=True, slots=True)
class _Look:
    """All processes; those of them whose reports can be read; what could not be read or understood."""

    processes: Sequence[Process]
    audible: Set[str]
    doubts: Sequence[BrokerDoubt]


async def _look(salvage: Salvage, guess: Guess) -> _Look:
    registry = guess.registry
    listed = (await salvage.listed([registry]))[registry]
    found = await _traces(salvage, guess.beside(()))
    uids = dict.fromkeys([*listed.pools, *sorted(found.pools)])
    pools = (await salvage.registered([RegistryEntry(registry, uid) for uid in uids])).values()
    known = [process for pool in pools for process in pool.processes]
    names, layout = {process.process for process in known}, guess.beside(known)
    strays = [replace(process, layout=layout) for process in found.processes if process.process not in names]
    audible = {process.process for pool in pools if pool.audible for process in pool.processes}
    return _Look(
        [*known, *strays],
        audible | {process.process for process in strays},
        [*listed.doubts, *(doubt for pool in pools for doubt in pool.doubts)],
    )


async def _traces(salvage: Salvage, layout: QueueLayout) -> Traces:
    """What is there without a registry's word; a user who may not look for it evacuates the others all the same."""
    try:
        found = await salvage.traces(layout)
    except BrokerDoubt as doubt:
        click.echo(f"workers that no registry knows are not looked for: {printable(str(doubt))}", err=True)
        return Traces(whole=False)
    if not found.whole:
        click.echo("not all keys could be looked through for workers that no registry knows", err=True)
    return found


async def _watch(salvage: Salvage, guess: Guess, seconds: float) -> tuple[list[Registered], Sequence[BrokerDoubt]]:
    """All workers, by two looks that lie `seconds` apart.

    One that has registered in between lives, and one whose reports cannot be read may.
    """
    look = await _look(salvage, guess)
    if not look.processes:
        return [], look.doubts
    before = {process.process: process.reported for process in look.processes if process.process in look.audible}
    number = len(look.processes)
    click.echo(f"{number} worker(s) found; watching for {seconds:g} s which of them report ...", err=True)
    await asyncio.sleep(seconds)
    look = await _look(salvage, guess)
    silent = {
        process.process
        for process in look.processes
        if process.process in before.keys() & look.audible and process.reported == before[process.process]
    }
    holds = await salvage.held(look.processes)
    workers = [
        Registered(process, count, lives=process.process not in silent, audible=process.process in look.audible)
        for process, count in zip(look.processes, holds, strict=True)
    ]
    return sorted(workers, key=lambda worker: worker.name), look.doubts


def _print(workers: Sequence[Registered], seconds: float) -> None:
    table = Table("POOL", "WORKER", "STARTED", "HOLDS", "LAST REPORT", box=box.SIMPLE)
    for worker in workers:
        if not worker.audible:
            heard = "cannot be read"
        elif worker.lives:
            heard = f"less than {seconds:g} s ago"
        else:
            heard = f"more than {seconds:g} s ago" if worker.process.reported is not None else "none"
        process = worker.process
        table.add_row(
            printable(f"{process.namespace}/{process.pool}"),
            printable(process.process),
            _moment(process.started),
            str(worker.holds) if isinstance(worker.holds, int) else "?",
            heard,
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_COLUMNS)
    console.print(table)


async def _give_back(salvage: Salvage, workers: Sequence[Registered]) -> None:
    """Give back what each holds; where that fails for one, the others' turn comes all the same."""
    total, failed = Restored(), 0
    for number, worker in enumerate(workers, 1):
        try:
            done = await salvage.restore(worker.process, died=False)
        except BrokerDoubt as doubt:
            done, failed = doubt.restored if isinstance(doubt, NotAllRestored) else Restored(), failed + 1
            click.echo(f"{worker.name}: {doubt.reason}: {printable(str(doubt))}", err=True)
            if doubt.reason == Reason.BROKER_CONNECTION_FAILED:
                raise
        total += done
        click.echo(f"{number}/{len(workers)} {worker.name}: {_words(done)}", err=True)
    for entry in dict.fromkeys(each.process.entry for each in workers):
        try:
            await salvage.forget_pool(entry)
        except BrokerDoubt as doubt:
            failed += 1
            click.echo(f"the rest of pool {entry.pool_uid}: {doubt.reason}: {printable(str(doubt))}", err=True)
    click.echo(f"{len(workers)} worker(s): {_words(total)}")
    if failed:
        raise click.ClickException("not all could be done, see above: run it again once that is mended")


def _words(done: Restored) -> str:
    words = f"{done.restored} message(s) given back"
    words += f", {done.dead} dead letter(s) (celeriac dead-letters list)" if done.dead else ""
    return words + (f", {done.dropped} broadcast(s) dropped" if done.dropped else "")


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return "?"
