"""The options that each verb of `kubectl celery` shares, before or after the verb, and what they choose."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec

import click

from celeriac.cli.pools_api import Pools

P = ParamSpec("P")

VALUED: Final = ("-n", "--namespace", "--context", "--kubeconfig", "-l", "--selector", "-o", "--output")
FLAGS: Final = ("-A", "--all-namespaces")


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
        click.option("-n", "--namespace", metavar="NAME", help="Default: the namespace of the context."),
    ):
        run = option(run)
    return run


def _pool_names(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The pools that can be named here; none where the cluster does not answer at once."""
    chosen = {name: ctx.params.get(name) for name in ("kubeconfig", "context", "namespace")}
    try:
        found = Pools(**chosen).list(all_namespaces=False)
    except click.ClickException:
        return []
    return sorted(name for each in found if (name := each["metadata"]["name"]).startswith(incomplete))


def pool_argument(*, required: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The argument NAME, which a shell completes."""
    return click.argument("name", required=required, shell_complete=_pool_names)


all_namespaces = click.option("-A", "--all-namespaces", is_flag=True, help="The pools of all namespaces.")
selector = click.option("-l", "--selector", metavar="LABELS", default="", help="Only pools with these labels.")


def output(*formats: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option in which form the answer is printed."""
    return click.option("-o", "--output", type=click.Choice(formats), help="How to print it; default: for people.")
