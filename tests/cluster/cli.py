"""The commands: up, down, status, build, images."""

import click

from tests.cluster.cluster import Cluster
from tests.cluster.errors import ClusterError


class Commands(click.Group):
    """Shows what the user can mend as one message, not as a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except ClusterError as error:
            raise click.ClickException(str(error)) from error


name_option = click.option("--name", default="celeriac", show_default=True, help="Which cluster.")


@click.group(cls=Commands)
def main() -> None:
    """One-node Kubernetes clusters on this machine, without Docker."""


@main.command()
@name_option
def up(name: str) -> None:
    """Start a cluster and leave it running."""
    cluster = Cluster(name)
    cluster.up(detached=True)
    click.echo(f"export KUBECONFIG={cluster.kubeconfig}")


@main.command()
@name_option
def down(name: str) -> None:
    """End a cluster and remove everything of it."""
    Cluster(name).down()
