"""The verbs of `kubectl celery` that are about a pool's workers: their logs, one that is to go, all made anew."""

import threading
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

import click

from celeriac.api.names import DRAIN_ANNOTATION, POOL_LABEL, WORKER_CONTAINER
from celeriac.cli.choosing import on_cluster, pod_argument, pool_argument
from celeriac.cli.pools_api import Pools
from celeriac.cli.printing import printable

STATES: Final = ("starting", "ready", "draining", "ending", "failed")
RESTARTED: Final = "kubectl.kubernetes.io/restartedAt"
"""Kubernetes' own annotation for it (kubectl rollout restart)."""


def state_of(pod: dict[str, Any]) -> str:
    """In which of STATES a worker's Pod is."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    conditions = {each["type"]: each["status"] for each in status.get("conditions") or ()}
    if status.get("phase") in ("Failed", "Succeeded"):
        return "failed"
    if metadata.get("deletionTimestamp"):
        return "ending"
    if DRAIN_ANNOTATION in (metadata.get("annotations") or {}):
        return "draining"
    if conditions.get("Ready") == "True":
        return "ready"
    workers = (each for each in status.get("containerStatuses") or () if each["name"] == WORKER_CONTAINER)
    return "failed" if any(each.get("restartCount") for each in workers) else "starting"


@click.command()
@pool_argument()
@click.option("-f", "--follow", is_flag=True, help="Go on with what they say, until Ctrl-C.")
@click.option("--state", type=click.Choice(STATES), multiple=True, help="Only workers in this state; may be repeated.")
@click.option("--tail", type=click.IntRange(0), default=20, show_default=True, help="Lines of each worker at most.")
@click.option("-p", "--previous", is_flag=True, help="What the worker said before its container was started again.")
@on_cluster
def logs(pools: Pools, name: str, follow: bool, state: tuple[str, ...], tail: int, previous: bool) -> None:
    """Print what all workers of pool NAME say, each line with its pod and the state that it is in.

    \b
    States: starting, ready, draining (it takes nothing new), ending (it has been told to stop), failed (it ended, or
    was started again and again).
    Examples:
      kubectl celery logs ml --follow
      kubectl celery logs ml --state failed --previous
    """
    pool = pools.get(name)
    found = sorted(pools.pods(pool), key=lambda pod: (STATES.index(state_of(pod)), pod["metadata"]["name"]))
    pods = [pod for pod in found if not state or state_of(pod) in state]
    if not pods:
        which = f" that are {' or '.join(state)}" if state else ": it is at zero, or its pods cannot be made"
        raise click.ClickException(f"{name} has no workers{which} (kubectl celery why {name})")
    query = {"container": WORKER_CONTAINER, "tailLines": tail, "previous": previous, "follow": follow}
    lock = threading.Lock()
    printers = [threading.Thread(target=_print_log, args=(pools, pod, query, lock), daemon=True) for pod in pods]
    for printer in printers:
        printer.start()
        if not follow:
            printer.join()
    for printer in printers:
        printer.join()


def _print_log(pools: Pools, pod: dict[str, Any], query: dict[str, Any], lock: threading.Lock) -> None:
    """Print the log of one worker; its end, or a refusal, ends nobody else's."""
    name, state = pod["metadata"]["name"], state_of(pod)
    words = urlencode({key: str(value).lower() for key, value in query.items()})
    path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{name}/log?{words}"
    is_silent = True
    try:
        for line in pools.lines(path, follow=query["follow"]):
            is_silent = False
            with lock:
                click.echo(f"{name} ({state})  {printable(line)}")
        if is_silent:
            with lock:
                click.echo(f"{name} ({state}) has said nothing", err=True)
    except click.ClickException as error:
        with lock:
            click.echo(f"{name} ({state}) has no log to show: {error.message}", err=True)


@click.command()
@pod_argument()
@on_cluster
def drain(pools: Pools, pod: str) -> None:
    """Let the worker in POD end its tasks and go; the pool starts another where one is needed.

    It takes nothing new from now on, gives back what it has not started, and has spec.drain.timeoutSeconds for what
    runs. `kubectl delete pod` does the same: a deleted Pod drains by itself.

    \b
    Example:
      kubectl celery drain ml-6c9f7d5b8-x2x7k
    """
    path = f"/api/v1/namespaces/{pools.namespace}/pods/{pod}"
    found = pools.do("GET", path)
    name = (found["metadata"].get("labels") or {}).get(POOL_LABEL)
    if name is None:
        raise click.ClickException(f"{pod} is no worker of a CeleryWorkerPool: it has no label {POOL_LABEL}")
    uid = {"preconditions": {"uid": found["metadata"]["uid"]}}
    pools.do("DELETE", path, {"apiVersion": "v1", "kind": "DeleteOptions", **uid})
    seconds = found["spec"].get("terminationGracePeriodSeconds", 30)
    click.echo(f"{pod} of {name} ends its tasks, for {seconds} s at most: kubectl celery logs {name} --state ending")


@click.command()
@pool_argument()
@on_cluster
def restart(pools: Pools, name: str) -> None:
    """Start all workers of pool NAME anew, by a rollout: no task that runs is stopped for it.

    \b
    Example:
      kubectl celery restart ml
    """
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    pools.patch(name, {"template": {"metadata": {"annotations": {RESTARTED: now}}}})
    click.echo(f"the workers of {name} are replaced one after the other: kubectl celery why {name} shows how far it is")
