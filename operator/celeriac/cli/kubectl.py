"""`kubectl celery`: the pools of a cluster, and why each has the replicas that it has."""

import sys
from datetime import UTC, datetime
from typing import Any

import click

from celeriac import __version__
from celeriac.cli import choosing
from celeriac.cli.choosing import AnyOrder, on_cluster, output, pool_argument
from celeriac.cli.completion import VARIABLE, completion, print_completions
from celeriac.cli.doctor import examine
from celeriac.cli.kubectl_ask import dead_letters, explain, queues, top
from celeriac.cli.kubectl_pods import drain, logs, restart
from celeriac.cli.pools_api import Pools
from celeriac.cli.printing import print_table, print_whole
from celeriac.cli.words import explanation, pools_table
from celeriac.cluster.depth import allow_deep_objects

MAX_REPLICAS = 10_000


@click.group(cls=AnyOrder, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kubectl celery")
def celery() -> None:
    """See and steer the CeleryWorkerPools of a cluster.

    \b
    Examples:
      kubectl celery list -A            all pools, what waits, and why each is as large as it is
      kubectl celery top                live figures of the pools of a namespace
      kubectl celery why ml             what is wrong with a pool, and what to do
      kubectl celery explain ml         how its last decision came about, and what would change it
      kubectl celery logs ml -f         what all its workers say
      kubectl celery doctor             what is wrong in this cluster, and what to do
    """


for command in (top, explain, queues, dead_letters, logs, drain, restart, completion):
    celery.add_command(command)


@celery.command("list")
@choosing.all_namespaces
@choosing.selector
@output("wide", "json", "yaml", "name")
@on_cluster
def list_pools(pools: Pools, all_namespaces: bool, selector: str, output: str | None) -> None:
    """List the pools: tasks waiting and running, replicas ready and desired, and why.

    \b
    Examples:
      kubectl celery list
      kubectl celery list -A
      kubectl celery list -l team=ml -o json
    """
    found = pools.list(all_namespaces=all_namespaces, selector=selector)
    if print_whole({"apiVersion": "v1", "kind": "List", "items": found}, output):
        return
    if not found:
        click.echo(pools.none(all_namespaces=all_namespaces, selector=selector), err=True)
        return
    if output == "name":
        click.echo("\n".join(f"celeryworkerpool.celeriac.dev/{each['metadata']['name']}" for each in found))
        return
    print_table(pools_table(found, datetime.now(UTC), with_namespace=all_namespaces, wide=output == "wide"))


@celery.command()
@pool_argument()
@output("json", "yaml")
@on_cluster
def why(pools: Pools, name: str, output: str | None) -> None:
    """Say what is wrong with pool NAME, what to do, and what happened to it lately.

    \b
    A line that begins with ! says what is wrong, with ? what is not known yet.
    Example:
      kubectl celery why ml -n shop
    """
    pool = pools.get(name)
    events = pools.events(pool)
    if print_whole({"status": pool.get("status", {}), "events": events}, output):
        return
    for line in explanation(pool, datetime.now(UTC), events):
        click.echo(line)


@celery.command()
@click.option("--operator-namespace", metavar="NAME", help="Where the operator runs; default: looked for everywhere.")
@choosing.all_namespaces
@choosing.selector
@output("json", "yaml")
@on_cluster
def doctor(
    pools: Pools, operator_namespace: str | None, all_namespaces: bool, selector: str, output: str | None
) -> None:
    """Say what is wrong: with the CRDs, the operator, rights and policies, and the pools; each with what to do.

    \b
    A line that begins with ! says what is wrong, with ? what could not be asked. Ends with 1 where something is wrong.
    Examples:
      kubectl celery doctor -A
      kubectl celery doctor -n shop --operator-namespace celeriac
    """
    findings = []
    for finding in examine(pools, operator_namespace, all_namespaces=all_namespaces, selector=selector):
        findings.append(finding)
        if output is None:
            click.echo(str(finding))
    print_whole([finding._asdict() for finding in findings], output)
    if any(finding.mark == "!" for finding in findings):
        sys.exit(1)


@celery.command()
@pool_argument()
@click.argument("replicas", type=click.IntRange(0, MAX_REPLICAS))
@on_cluster
def pin(pools: Pools, name: str, replicas: int) -> None:
    """Keep pool NAME at REPLICAS, whatever its queues hold; minReplicas and maxReplicas do not apply.

    The same as `kubectl scale cwp/NAME --replicas=N`. Undo it with `kubectl celery resume NAME`.

    \b
    Example:
      kubectl celery pin ml 5
    """
    pools.patch(name, {"replicas": replicas})
    click.echo(f"{name} is pinned to {replicas}; kubectl celery resume {name} lets its queues decide again")


@celery.command()
@pool_argument()
@on_cluster
def resume(pools: Pools, name: str) -> None:
    """Remove the pin of pool NAME (spec.replicas), so that its queues decide again.

    Applying a manifest without spec.replicas does not remove it; this does.

    \b
    Example:
      kubectl celery resume ml
    """
    mode = _mode(pools.patch(name, {"replicas": None}))
    click.echo(f"{name} is no longer pinned" + ("" if mode == "Auto" else f"; its mode is {mode}"))


@celery.command()
@pool_argument()
@on_cluster
def pause(pools: Pools, name: str) -> None:
    """Leave the replicas of pool NAME alone (spec.scaling.mode Paused).

    \b
    Example:
      kubectl celery pause ml
    """
    pools.patch(name, {"scaling": {"mode": "Paused"}})
    click.echo(f"{name} is paused; kubectl celery unpause {name} goes on")


@celery.command()
@pool_argument()
@on_cluster
def unpause(pools: Pools, name: str) -> None:
    """Scale pool NAME again (spec.scaling.mode Auto).

    \b
    Example:
      kubectl celery unpause ml
    """
    pinned = pools.patch(name, {"scaling": {"mode": "Auto"}})["spec"].get("replicas")
    rest = "" if pinned is None else f", but still pinned to {pinned}: kubectl celery resume {name}"
    click.echo(f"{name} is no longer paused{rest}")


def _mode(pool: dict[str, Any]) -> str:
    return str(pool["spec"].get("scaling", {}).get("mode", "Auto"))


def main() -> None:
    """Run under the name that people type."""
    allow_deep_objects()
    celery(prog_name="kubectl celery", complete_var=VARIABLE)


def complete() -> None:
    """kubectl_complete-celery: kubectl's own completion calls it with the words behind `kubectl celery`."""
    print_completions(celery, sys.argv[1:])
