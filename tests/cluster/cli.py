"""The commands of ``python -m tests.cluster``."""

import shlex
import subprocess
import sys
from pathlib import Path

import click

from tests.cluster import images, paths, tools
from tests.cluster.choose import Machine, by_name, choose
from tests.cluster.cluster import Cluster
from tests.cluster.errors import ClusterError
from tests.cluster.progress import console
from tests.cluster.target import KindCluster

INSTALL_PACKAGES = Path(__file__).with_name("install-packages")


class Commands(click.Group):
    """Shows what the user can mend as one message, not as a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except ClusterError as error:
            raise click.ClickException(str(error)) from error


name_option = click.option(
    "--name", default="dev", show_default=True, help="Which cluster; several run beside each other."
)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Kubernetes clusters on this machine, for tests and for trying things out.

    With Docker running it is a kind cluster, otherwise a one-node cluster of our own (Linux, root): API server,
    scheduler, kubelet, kube-proxy and CoreDNS are built once into the cache and run in namespaces of their own.

    \b
    First steps:
      eval "$(python -m tests.cluster up)"       start one and point kubectl at it
      export PATH="$(python -m tests.cluster build --directory):$PATH"   kubectl, if you have none
      kubectl get nodes
      python -m tests.cluster load redis:7       bring an image; there is no registry to pull from
      kubectl run redis --image=redis:7
      python -m tests.cluster down
    """


@main.command()
@name_option
def up(name: str) -> None:
    """Start a cluster and leave it running.

    Prints the line that points kubectl at it; everything else goes to standard error.
    """
    cluster = by_name(name)
    if not cluster.running():
        cluster.up(detached=True)
    click.echo(f"export KUBECONFIG={shlex.quote(str(cluster.kubeconfig))}")


@main.command()
@name_option
@click.option("--generation", hidden=True, help="Only if it is that run of it; the guard of a cluster gives it.")
def down(name: str, generation: str | None) -> None:
    """End a cluster and remove everything of it, also after a crash."""
    if generation:
        Cluster(name).down(generation=generation)
        return
    if not (paths.state() / name).exists():
        console.print(f"  there is no cluster {name}")
        return
    by_name(name).down()


@main.command()
def status() -> None:
    """List the clusters of this user."""
    directories = sorted(paths.state().iterdir()) if paths.state().exists() else []
    for directory in directories:
        cluster = by_name(directory.name)
        kind = "kind" if isinstance(cluster, KindCluster) else "own"
        state = "running" if cluster.running() else "dead: `down` removes what is left"
        click.echo(f"{directory.name}  {kind}  {state}  KUBECONFIG={cluster.kubeconfig}")
    if not directories:
        console.print("  no cluster; start one with `up`")


@main.command()
@click.argument("programs", nargs=-1, metavar="[PROGRAM]...")
@click.option("--directory", is_flag=True, help="Print only the folder of kubectl and its kin.")
def build(programs: tuple[str, ...], directory: bool) -> None:
    """Build programs into the cache: all that the tests need, or only those named.

    \b
    Programs: kube-apiserver, kube-controller-manager, kubectl, kube-scheduler, kubelet, kube-proxy,
              coredns, helm, kwok, kind. Cold on two cores: about eight minutes for all; nothing when they are there.
    """
    if directory:
        click.echo(tools.binary("kubectl").parent)
        return
    for name, path in tools.binaries(programs or programs_for(Machine.this())).items():
        click.echo(f"{name}  {path}")


def programs_for(machine: Machine) -> tuple[str, ...]:
    """What the integration tests need, and what the clusters need that are possible on this machine."""
    kind = ("kind",) if machine.docker else ()
    return (*tools.CONTROL_PLANE, "helm", "actionlint", *kind, *(tools.NODE if machine.can_be_node else ()))


@main.command(name="images")
def make_images() -> None:
    """Make the base images (python:3.11-slim, redis:7) and list the archives in the cache."""
    if Machine.this().can_be_node:
        make_bases()
    else:
        console.print("  base images are made only for a node of our own, which this machine cannot be")
    for archive in images.archives():
        click.echo(f"{archive.stat().st_size / 2**20:7.0f} MiB  {archive}")


def make_bases() -> None:
    """Those of `make test` at once, so that no test waits for one."""
    for name, public in images.PUBLIC.items():
        if public.suite == images.SUITE:
            images.base(name)


@main.command()
def prepare() -> None:
    """Bring all that the tests and the demo need here, as `make setup` does; at once when it is there.

    Programs always. Debian packages and base images only where a node of our own is what the tests will run on, or can
    be: kind, and a cluster that you name, need neither.
    """
    machine = Machine.this()
    if machine.shall_be_node and machine.missing:
        if subprocess.run([INSTALL_PACKAGES, "node"], check=False, stdout=sys.stderr).returncode != 0:
            raise ClusterError("the Debian packages of a node could not be installed; the reason is above")
        machine = Machine.this()
    tools.binaries(programs_for(machine))
    for folder in tools.FILES:
        tools.files(folder)
    if machine.can_be_node:
        make_bases()
    try:
        choose(machine)
    except ClusterError as error:
        console.print(f"  ! integration tests can run; for e2e tests and the demo {error}", markup=False)


@main.command()
@name_option
@click.argument("tag")
@click.option("--file", "dockerfile", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Build this.")
@click.option("--context", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Default: its folder.")
def load(name: str, tag: str, dockerfile: Path | None, context: Path | None) -> None:
    """Bring the image TAG to a running cluster: redis:7 and python:3.11-slim by name, any other from its Dockerfile."""
    cluster = by_name(name)
    if not cluster.running():
        raise ClusterError(f"the cluster {name} is not running; start it with `up --name {name}`")
    cluster.provide(images.Image(tag, dockerfile, context))
