"""Which cluster the demo and the e2e tests run on: the one that the user names, kind, or one of our own.

>>> with target("demo") as cluster:
...     cluster.provide(images.REDIS)
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tests.cluster import paths
from tests.cluster.cluster import Cluster, missing_programs
from tests.cluster.errors import ClusterError
from tests.cluster.progress import console
from tests.cluster.target import KindCluster, NamedCluster, Target, docker_answers

VARIABLE = "CELERIAC_KUBECONFIG"


class Choice(Enum):
    """The three kinds of cluster, in the order of choice."""

    NAMED = "the cluster that you name"
    KIND = "kind"
    OWN = "a node of our own"


@dataclass(frozen=True)
class Machine:
    """What the choice depends on."""

    named: Path | None = None  # the kubeconfig of CELERIAC_KUBECONFIG
    docker: bool = False  # a daemon answers
    linux: bool = True
    root: bool = True
    missing: tuple[str, ...] = ()  # programs that a node of our own needs

    @classmethod
    def this(cls) -> "Machine":
        """The machine this runs on. KUBECONFIG alone counts for nothing: it may well be a cluster that people use."""
        named = Path(value) if (value := os.environ.get(VARIABLE)) else None
        return cls(
            named=named,
            docker=named is None and docker_answers(),
            linux=sys.platform == "linux",
            root=os.geteuid() == 0,
            missing=tuple(missing_programs()),
        )

    @property
    def can_be_node(self) -> bool:
        """Whether a node of our own can run here, chosen or not."""
        return self.linux and self.root and not self.missing

    @property
    def shall_be_node(self) -> bool:
        """Whether a node of our own is what will be chosen here, once its packages are installed."""
        return self.linux and self.root and not self.named and not self.docker


def choose(machine: Machine) -> Choice:
    """The first kind that is possible; raises ClusterError that names every cure when none is."""
    if machine.named:
        return Choice.NAMED
    if machine.docker:
        return Choice.KIND
    if machine.can_be_node:
        return Choice.OWN
    cures = [f"name a cluster with {VARIABLE}=FILE", "start Docker (kind comes by itself)"]
    if machine.linux and not machine.root:
        cures.append("run this as root, for a node of our own")
    if machine.linux and machine.missing:
        cures.append(
            f"run tests/cluster/install-packages, for a node of our own (missing: {', '.join(machine.missing)})"
        )
    raise ClusterError(
        "no cluster is possible here. Any one of these helps:" + "".join(f"\n  - {cure}" for cure in cures)
    )


def by_name(name: str) -> Cluster | KindCluster:
    """The cluster of this name: the one that exists, otherwise the kind that this machine would make."""
    if (paths.state() / name / "kind.kubeconfig").exists():
        return KindCluster(name)
    if Cluster(name).directory.exists():
        return Cluster(name)
    return KindCluster(name) if choose(Machine.this()) is Choice.KIND else Cluster(name)


@contextmanager
def target(name: str | None = None, *, keep: bool = False) -> Iterator[Target]:
    """A cluster to work with: one that runs already under this name, or a new one, which goes again unless ``keep``."""
    machine = Machine.this()
    if choose(machine) is Choice.NAMED:
        assert machine.named
        yield _named(machine.named)
        return
    cluster = by_name(name or f"run-{os.getpid()}")
    if cluster.running():
        console.print(f"  on {cluster.description}, which runs already")
        yield cluster
        return
    try:
        cluster.up(detached=keep)
        yield cluster
    finally:
        if not keep:
            cluster.down()


def running(name: str) -> Target:
    """The cluster that another process works with: the one that the user names, otherwise the one of this name."""
    return _named(Path(named)) if (named := os.environ.get(VARIABLE)) else by_name(name)


def _named(kubeconfig: Path) -> Target:
    """One of our own clusters by its kubeconfig can be given images too."""
    state = paths.state().resolve()
    if kubeconfig.resolve().is_relative_to(state):
        return by_name(kubeconfig.resolve().relative_to(state).parts[0])
    return NamedCluster(kubeconfig)
