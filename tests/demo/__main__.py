"""The command: `python -m tests.demo --help`."""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

import click
from rich.console import Console

from tests.cluster import choose
from tests.cluster.errors import ClusterError
from tests.cluster.target import Target
from tests.demo import setup, summary
from tests.demo.live import Screen
from tests.demo.pools import LOADS, POOLS, VISIT, Load
from tests.demo.watch import Observer

KEPT_CLUSTER = "demo"
LIMIT_SECONDS = 240.0
REDRAW_SECONDS = 0.5

console = Console()


def send(target: Target, run: str, say: Callable[[str], None], stop: Event) -> None:
    """Send all loads, one after the other, from within the cluster; raises ClusterError with what the sender said."""
    for load in LOADS:
        if stop.is_set():
            return
        call(target, run, load)
        say(f"sent {load.story}")


def visit(target: Target, run: str, say: Callable[[str], None]) -> None:
    """Ask the web service until all its answers are there; raises ClusterError with what the visitor said."""
    say(f"asking {VISIT.story}")
    for line in call(target, run, VISIT).splitlines():
        say(f"web: {line}")


def call(target: Target, run: str, load: Load) -> str:
    """Run a load's program in the client pod; returns what it said."""
    command = ("python", "-m", load.program, "--run", run, *load.arguments.split())
    done = subprocess.run(setup.client_command(target, *command), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"{load.story} failed:\n{done.stderr.strip()}")
    return done.stdout


def show(target: Target, run: str) -> list[summary.Line]:
    """Send tasks, show the pools until nothing more can be expected or LIMIT_SECONDS are over, and judge."""
    ledger = setup.client_command(target, "python", "-m", "celery_app.report", run, "--json")
    with (
        Observer(target.kubeconfig, setup.NAMESPACE, POOLS, ledger) as observer,
        ThreadPoolExecutor(2) as background,
        Screen(console) as screen,
    ):
        stop = Event()
        sending = (
            background.submit(visit, target, run, screen.print),
            background.submit(send, target, run, screen.print, stop),
        )
        try:
            return follow(observer, screen, sending)
        finally:
            stop.set()


def follow(observer: Observer, screen: Screen, sending: Sequence[Future[None]]) -> list[summary.Line]:
    """Show what is observed until it is settled; raises what `sending` raised."""
    deadline = time.monotonic() + LIMIT_SECONDS
    settled = False
    while not settled and time.monotonic() < deadline:
        observer.wait(REDRAW_SECONDS)
        now = observer.snapshot()
        screen.show(now)
        if all(each.done() for each in sending):
            for each in sending:
                each.result()
            settled = summary.settled(POOLS, now.accounts, now.states)
    return summary.judge(POOLS, now.accounts, now.states)


def conclude(lines: list[summary.Line]) -> int:
    """Print the summary; the exit code: 0 when every task is accounted for and every pool did what was decided."""
    console.print(summary.table(lines))
    for sentence in summary.words(lines):
        console.print(f"  {sentence}", highlight=False, soft_wrap=True)
    problems = [problem for line in lines for problem in line.problems]
    for problem in problems:
        console.print(f"[red]✗[/] {problem}", highlight=False, soft_wrap=True)
    if not problems:
        told = "every task that was sent succeeded, none ran twice; every pool is back at zero"
        console.print(f"[green]✓[/] {told}", soft_wrap=True)
    return 1 if problems else 0


@click.command()
@click.option("--keep", is_flag=True, help="Leave everything up, and print what to try next.")
def main(keep: bool) -> None:
    """Show Celeriac at work: a cluster, Redis, the operator, four pools, and real tasks for all of them.

    The pools go from zero to what their queues need, and back. At the end every task is accounted for; the exit code is
    0 only when each succeeded once, and each pool had as many ready replicas as the operator had decided.
    """
    # A cluster that goes at the end is nobody else's: demos may run beside each other.
    name = KEPT_CLUSTER if keep else f"demo-{os.getpid()}"
    try:
        with choose.target(name, keep=keep) as target, setup.system(target, keep=keep):
            code = conclude(show(target, f"demo-{uuid.uuid4().hex[:6]}"))
            if code:
                console.print(setup.diagnosis(target), highlight=False, markup=False, soft_wrap=True)
            if keep:
                console.print(setup.what_next(target), highlight=False, soft_wrap=True)
    except ClusterError as error:
        raise click.ClickException(str(error)) from error
    sys.exit(code)


if __name__ == "__main__":
    main()
