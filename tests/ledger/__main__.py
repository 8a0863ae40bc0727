"""The command: `python -m tests.ledger --help`."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table

from tests.cluster.choose import target
from tests.cluster.errors import ClusterError
from tests.e2e.system import System, installed
from tests.ledger.book import read
from tests.ledger.cells import ALL, TODAY, TODAY_TASKS, Cell, select
from tests.ledger.checker import Demand, judge
from tests.ledger.load import Load
from tests.ledger.run import Settled, run

CELL_SECONDS = 190
"""What one cell takes, about; for the estimate."""

console = Console(highlight=False, soft_wrap=True, width=120)


def chosen(words: str, among: Sequence[Cell]) -> list[Cell]:
    """The cells that the words select."""
    try:
        return select(words.split(), among)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--cells") from error


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--cells", "words", default="", help="Parts of names, e.g. 'prefork 5.3-solo'; default: all.")
@click.option("--today", is_flag=True, help="Images of what pip resolves now, on each Python; a short run.")
@click.option("--parallel", default=4, show_default=True, type=click.IntRange(1, 20), help="Cells side by side.")
@click.option("--seed", default="1", show_default=True, help="Of the tasks' lengths.")
@click.option("--tasks", type=click.IntRange(1), help=f"Per cell; default: {Load.tasks}, {TODAY_TASKS} with --today.")
@click.option("--cluster", "name", help="A cluster that runs already, or shall be called so; default: a new one.")
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), help="Folder for books and evidence.")
@click.pass_context
def main(
    context: click.Context,
    words: str,
    today: bool,
    parallel: int,
    seed: str,
    tasks: int | None,
    name: str | None,
    output: Path | None,
) -> None:
    """Send 300 tasks through each cell while its pool scales up and down, and account for each of them.

    A cell is a version of Celery, a pool and a way to acknowledge. Its tasks write what befalls them into a file that
    outlives every pod; a checker that knows nothing of Celeriac reads it, and what remains in Redis. The exit code is
    0 only when in every cell no task was lost, run twice or killed, and the pool was scaled often enough.

    \b
    Examples:
      python -m tests.ledger --cells prefork
      python -m tests.ledger --cells "5.7-solo-late 5.3-gevent" --parallel 2
      python -m tests.ledger judge FOLDER/5.7-solo-late.jsonl
    """
    if context.invoked_subcommand:
        return
    cells = chosen(words, TODAY if today else ALL)
    load = Load(tasks or (TODAY_TASKS if today else Load.tasks))
    output = output or Path(tempfile.mkdtemp(prefix="celeriac-ledger-"))
    rounds = -(-len(cells) // parallel)
    console.print(
        f"{len(cells)} cells, {parallel} side by side, seed {seed}: about {rounds * CELL_SECONDS / 60:.0f} min"
    )
    console.print(f"books and evidence: {output}")
    try:
        with target(name or f"ledger-{os.getpid()}") as cluster, installed(cluster) as system:
            settled = run_all(system, cells, load, parallel, seed, output)
            (output / "operator.log").write_text(system.log())
    except ClusterError as error:
        raise click.ClickException(str(error)) from error
    sys.exit(conclude(settled, len(cells), output))


@main.command("judge")
@click.argument("books", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
def judge_books(books: tuple[Path, ...]) -> None:
    """Judge books again, as a run has left them."""
    demands = {cell.name: cell.demand for cell in (*ALL, *TODAY)}
    failed = 0
    for book in books:
        verdict = judge(read(book), demands.get(book.stem, Demand()))
        failed += bool(verdict.problems)
        console.print(json.dumps({"cell": book.stem, **asdict(verdict)}))
    sys.exit(1 if failed else 0)


def run_all(system: System, cells: Sequence[Cell], load: Load, parallel: int, seed: str, output: Path) -> list[Settled]:
    """All cells, `parallel` at a time, in one cluster; each is told as soon as it is settled."""
    cluster = system.cluster
    for image in {cell.image.tag: cell.image for cell in cells}.values():
        cluster.provide(image)
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"{time.monotonic() - began:5.0f} s  {text}")

    settled = []
    with ThreadPoolExecutor(parallel) as pool:
        futures = {pool.submit(run, cluster, cell, load, seed, output, cell.demand, say): cell for cell in cells}
        for future in as_completed(futures):
            if error := future.exception():
                say(f"{futures[future].name}: [red]✗[/] {error!r}")
                continue
            result = future.result()
            settled.append(result)
            say(f"{result.cell.name}: " + ("; ".join(result.problems) or "clean"))
    return settled


def conclude(settled: Sequence[Settled], wanted: int, output: Path) -> int:
    """Show the table, write it as lines of JSON, return the exit code."""
    ordered = sorted(settled, key=lambda each: (*ALL, *TODAY).index(each.cell))
    console.print(table(ordered))
    with (output / "verdicts.jsonl").open("w") as file:
        for each in ordered:
            file.write(json.dumps({"cell": each.cell.name, "seconds": each.seconds, **asdict(each.verdict)}) + "\n")
    failed = [each for each in ordered if each.problems]
    for each in failed:
        console.print(f"[red]✗[/] {each.cell.name}: {'; '.join(each.problems)}")
    if unsettled := wanted - len(settled):
        console.print(f"[red]✗[/] {unsettled} cells could not be settled")
    if not failed and not unsettled:
        console.print("[green]✓[/] nothing lost, nothing twice, nothing killed, nothing left")
    return 1 if failed or unsettled else 0


def table(settled: Sequence[Settled]) -> Table:
    """One row per cell."""
    view = Table(title="The ledger", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    view.add_column("cell", no_wrap=True)
    for title in ("sent", "ended", "lost", "twice", "killed", "up", "down", "loaded", "left", "s"):
        view.add_column(title, justify="right", no_wrap=True)
    for each in settled:
        found = each.verdict
        counts = (found.sent, found.ended, len(found.lost), len(found.twice), len(found.killed))
        row = (*counts, found.ups, found.downs, found.loaded, len(found.left), round(each.seconds))
        view.add_row(each.cell.name, *map(str, row), style="red" if each.problems else None)
    return view


if __name__ == "__main__":
    main()
