"""`kubectl celery`: the pools of a cluster, and why each has the replicas that it has."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
from rich.console import Console

from celeriac import __version__
from celeriac.cli.doctor import examine
from celeriac.cli.pools_api import Pools
from celeriac.cli.words import explanation, pools_table
from celeriac.cluster.depth import allow_deep_objects

MAX_REPLICAS = 10_000
PIPE_COLUMNS = 10_000
"""Width for output that is no terminal: a program that reads it wants one line for each pool."""

F = TypeVar("F", bound=Callable[..., Any])


def cluster_options(command: F) -> F:
    """The options with which kubectl chooses a cluster. (kubectl hands a plugin only what follows its name.)"""
    for option in (
        click.option("--context", metavar="NAME", help="Context of the kubeconfig; default: the current one."),
        click.option("--kubeconfig", metavar="FILE", help="Default: $KUBECONFIG, else ~/.kube/config."),
        click.option("-n", "--namespace", metavar="NAME", help="Default: the namespace of the context."),
    ):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kubectl celery")
def celery() -> None:
    """See and steer the CeleryWorkerPools of a cluster.

    \b
    Examples:
      kubectl celery list -A            all pools, what waits, and why each is as large as it is
      kubectl celery explain ml         the last decision and the conditions of one pool
      kubectl celery pin ml 5           keep 5 replicas, whatever the queues hold
      kubectl celery resume ml          let the queues decide again
      kubectl celery pause ml           leave the replicas alone; unpause goes on
      kubectl celery doctor             what is wrong in this cluster, and what to do
    """


@celery.command("list")
@click.option("-A", "--all-namespaces", is_flag=True, help="The pools of all namespaces.")
@cluster_options
def list_pools(all_namespaces: bool, namespace: str | None, kubeconfig: str | None, context: str | None) -> None:
    """List the pools: tasks waiting and running, replicas ready and desired, and why.

    \b
    Examples:
      kubectl celery list
      kubectl celery list -A
    """
    pools = Pools(kubeconfig, context, namespace)
    found = pools.list(all_namespaces=all_namespaces)
    if not found:
        place = "this cluster" if all_namespaces else f"namespace {pools.namespace} (-A looks in all)"
        click.echo(f"no CeleryWorkerPool in {place}", err=True)
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_COLUMNS)
    console.print(pools_table(found, with_namespace=all_namespaces))


@celery.command()
@click.argument("name")
@cluster_options
def explain(name: str, namespace: str | None, kubeconfig: str | None, context: str | None) -> None:
    """Explain why pool NAME has the replicas that it has.

    \b
    A line that begins with ! says what is wrong, with ? what is not known yet.
    Example:
      kubectl celery explain ml -n shop
    """
    for line in explanation(Pools(kubeconfig, context, namespace).get(name), datetime.now(UTC)):
        click.echo(line)


@celery.command()
@click.option("--operator-namespace", metavar="NAME", help="Where the operator runs; default: looked for everywhere.")
@click.option("-A", "--all-namespaces", is_flag=True, help="The pools of all namespaces.")
@cluster_options
def doctor(
    operator_namespace: str | None,
    all_namespaces: bool,
    namespace: str | None,
    kubeconfig: str | None,
    context: str | None,
) -> None:
    """Say what is wrong: with the CRD, the operator, its rights and policies, and the pools; each with what to do.

    \b
    A line that begins with ! says what is wrong, with ? what could not be asked. Ends with 1 where something is wrong.
    Examples:
      kubectl celery doctor -A
      kubectl celery doctor -n shop --operator-namespace celeriac
    """
    wrong = False
    for finding in examine(Pools(kubeconfig, context, namespace), operator_namespace, all_namespaces=all_namespaces):
        click.echo(str(finding))
        wrong = wrong or finding.mark == "!"
    if wrong:
        raise SystemExit(1)


@celery.command()
@click.argument("name")
@click.argument("replicas", type=click.IntRange(0, MAX_REPLICAS))
@cluster_options
def pin(name: str, replicas: int, namespace: str | None, kubeconfig: str | None, context: str | None) -> None:
    """Keep pool NAME at REPLICAS, whatever its queues hold; minReplicas and maxReplicas do not apply.

    The same as `kubectl scale cwp/NAME --replicas=N`. Undo it with `kubectl celery resume NAME`.

    \b
    Example:
      kubectl celery pin ml 5
    """
    Pools(kubeconfig, context, namespace).patch(name, {"replicas": replicas})
    click.echo(f"{name} is pinned to {replicas}; kubectl celery resume {name} lets its queues decide again")


@celery.command()
@click.argument("name")
@cluster_options
def resume(name: str, namespace: str | None, kubeconfig: str | None, context: str | None) -> None:
    """Remove the pin of pool NAME (spec.replicas), so that its queues decide again.

    Applying a manifest without spec.replicas does not remove it; this does.

    \b
    Example:
      kubectl celery resume ml
    """
    pool = Pools(kubeconfig, context, namespace).patch(name, {"replicas": None})
    mode = pool["spec"].get("scaling", {}).get("mode", "Auto")
    click.echo(f"{name} is no longer pinned" + ("" if mode == "Auto" else f"; its mode is {mode}"))


@celery.command()
@click.argument("name")
@cluster_options
def pause(name: str, namespace: str | None, kubeconfig: str | None, context: str | None) -> None:
    """Leave the replicas of pool NAME alone (spec.scaling.mode Paused).

    \b
    Example:
      kubectl celery pause ml
    """
    Pools(kubeconfig, context, namespace).patch(name, {"scaling": {"mode": "Paused"}})
    click.echo(f"{name} is paused; kubectl celery unpause {name} goes on")


@celery.command()
@click.argument("name")
@cluster_options
def unpause(name: str, namespace: str | None, kubeconfig: str | None, context: str | None) -> None:
    """Scale pool NAME again (spec.scaling.mode Auto).

    \b
    Example:
      kubectl celery unpause ml
    """
    pool = Pools(kubeconfig, context, namespace).patch(name, {"scaling": {"mode": "Auto"}})
    pinned = pool["spec"].get("replicas")
    rest = "" if pinned is None else f", but still pinned to {pinned}: kubectl celery resume {name}"
    click.echo(f"{name} is no longer paused{rest}")


def main() -> None:
    """Run under the name that people type."""
    allow_deep_objects()
    celery(prog_name="kubectl celery")
