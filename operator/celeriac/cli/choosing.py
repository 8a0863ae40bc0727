"""The options that each verb of `kubectl celery` shares, before or after the verb, and what they choose."""

import re
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec

import click

from celeriac.brokers.protocol import UNROUTABLE
from celeriac.cli.pools_api import Pools

P = ParamSpec("P")

VALUED: Final = ("-n", "--namespace", "--context", "--kubeconfig", "-l", "--selector", "-o", "--output")
FLAGS: Final = ("-A", "--all-namespaces")
NAME: Final = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")
"""As Kubernetes has it (RFC 1123, a subdomain)."""


class AnyOrder(click.Group):
    """A group whose verbs take the shared options before their name, too, as kubectl's own do."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put what stands before the verb behind it."""
        taken, rest = [], list(args)
        while rest and (number := _words_of(rest[0])):
            taken += rest[:number]
            rest = rest[number:]
        if taken and rest:
            args = [rest[0], *taken, *rest[1:]]
        return super().parse_args(ctx, args)


def _words_of(word: str) -> int:
    """How many words an option takes that begins with this one; 0 where it is none of the shared ones."""
    if word in FLAGS:
        return 1
    if word in VALUED:
        return 2
    long = word.startswith("--") and word.split("=", 1)[0] in VALUED
    short = not word.startswith("--") and len(word) > 2 and word[:2] in VALUED
    return int(long or short)


def _completing(
    named: Callable[[Pools, click.Context], Iterable[str]],
) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """What can stand here, as a shell asks for it; nothing where the cluster does not answer."""

    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        chosen = {name: ctx.params.get(name) for name in ("kubeconfig", "context", "namespace")}
        try:
            return sorted(name for name in named(Pools(**chosen), ctx) if name.startswith(incomplete))
        except click.ClickException:
            return []

    return complete


def on_cluster(command: Callable[Concatenate[Pools, P], None]) -> Callable[..., None]:
    """Give a verb the options by which kubectl chooses a cluster, and its pools as the first argument.

    kubectl hands a plugin only what follows its name.
    """

    @wraps(command)
    def run(namespace: str | None, kubeconfig: str | None, context: str | None, *args: Any, **kwargs: Any) -> None:
        command(Pools(kubeconfig, context, namespace), *args, **kwargs)

    for option in (
        click.option("--context", metavar="NAME", help="Context of the kubeconfig; default: the current one."),
        click.option("--kubeconfig", metavar="FILE", help="Default: $KUBECONFIG, else ~/.kube/config."),
        click.option(
            *("-n", "--namespace"),
            metavar="NAME",
            help="Default: the namespace of the context.",
            shell_complete=_completing(lambda pools, _: pools.namespaces()),
        ),
    ):
        run = option(run)
    return run


def _pool_names(pools: Pools, _: click.Context) -> Iterable[str]:
    return [each["metadata"]["name"] for each in pools.list(all_namespaces=False)]


def _pod_names(pools: Pools, _: click.Context) -> Iterable[str]:
    return [each["metadata"]["name"] for each in pools.pods()]


def _queue_names(pools: Pools, ctx: click.Context) -> Iterable[str]:
    return [*pools.get(ctx.params["name"])["spec"].get("queues", ()), UNROUTABLE] if ctx.params.get("name") else ()


def _name_of(*kinds: str) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """A name alone, or behind its kind, as `kubectl get -o name` prints it. Refuses what no object can be called."""

    def name(_: click.Context, __: click.Parameter, given: str | None) -> str | None:
        if given is None:
            return None
        kind, slash, name = given.rpartition("/")
        if (slash and kind.partition(".")[0].lower() not in kinds) or not NAME.fullmatch(name):
            raise click.BadParameter(f"{given!r} is no name: type it alone, or as {kinds[0]}/NAME")
        return name

    return name


def pool_argument(*, required: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The argument NAME, which a shell completes."""
    named = _name_of("cwp", "celeryworkerpool", "celeryworkerpools")
    return click.argument("name", required=required, callback=named, shell_complete=_completing(_pool_names))


def pod_argument() -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The argument POD, that of a worker."""
    named = _name_of("pod", "pods", "po")
    return click.argument("pod", callback=named, shell_complete=_completing(_pod_names))


def queue_argument(*, required: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The argument QUEUE, one of the pool that stands before it."""
    return click.argument("queue", required=required, shell_complete=_completing(_queue_names))


all_namespaces = click.option("-A", "--all-namespaces", is_flag=True, help="The pools of all namespaces.")
selector = click.option("-l", "--selector", metavar="LABELS", default="", help="Only pools with these labels.")


def output(*formats: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option in which form the answer is printed."""
    return click.option("-o", "--output", type=click.Choice(formats), help="How to print it; default: for people.")
