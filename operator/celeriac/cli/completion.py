"""Completion of `kubectl celery` and `kubectl-celery` for bash, zsh and fish."""

from typing import Final

import click
from click.shell_completion import ShellComplete, get_completion_class

SHELLS: Final = ("bash", "zsh", "fish")
PROGRAM: Final = "kubectl-celery"
VARIABLE: Final = "_KUBECTL_CELERY_COMPLETE"
NO_FILES: Final = ":4"
"""cobra's ShellCompDirectiveNoFileComp, which kubectl's completion reads."""


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what makes SHELL complete `kubectl-celery`.

    `kubectl celery` needs no more than kubectl's own completion: that calls kubectl_complete-celery, which is installed
    beside the plugin.

    \b
    Examples:
      source <(kubectl celery completion bash)
      kubectl celery completion fish > ~/.config/fish/completions/kubectl-celery.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.ClickException(f"no completion for {shell}")
    click.echo(kind(click.get_current_context().find_root().command, {}, PROGRAM, VARIABLE).source())


def print_completions(root: click.Command, words: list[str]) -> None:
    """Print what may follow, a word a line, as kubectl's completion reads it."""
    *before, last = words or [""]
    for each in ShellComplete(root, {}, PROGRAM, VARIABLE).get_completions(before, last):
        click.echo(each.value if not each.help else f"{each.value}\t{each.help}")
    click.echo(NO_FILES)
