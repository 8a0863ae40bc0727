"""What the demo and the e2e tests see of a cluster, and the two kinds of cluster that others provide."""

import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from tests.cluster import paths, pip_settings, tools
from tests.cluster.errors import ClusterError
from tests.cluster.images import Image
from tests.cluster.process import run
from tests.cluster.progress import console, step

KIND_CONFIG = Path(__file__).resolve().parents[2] / "kind-config.yaml"


class Target(Protocol):
    """A Kubernetes cluster that images can be brought to."""

    @property
    def description(self) -> str:
        """Which cluster this is, in words."""
        ...

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        ...

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Runs kubectl and returns its output; raises ClusterError with what it said."""
        ...

    def provide(self, image: Image) -> None:
        """Sees to it that pods find this image."""
        ...


class NamedCluster:
    """The cluster of a kubeconfig that the user named: never made, never removed, its images the user's business."""

    def __init__(self, kubeconfig: Path) -> None:
        if not kubeconfig.exists():
            raise ClusterError(f"the kubeconfig {kubeconfig} does not exist; correct CELERIAC_KUBECONFIG")
        self.kubeconfig = kubeconfig
        self.description = f"the cluster of {kubeconfig}"

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """As the user of the kubeconfig."""
        return run([tools.binary("kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments], stdin=stdin)

    def provide(self, image: Image) -> None:
        """Only says what the cluster must have: nothing here can reach its nodes or its registry."""
        if image.dockerfile is not None:
            console.print(
                f"  ! {self.description} must have the image {image.tag} already (built from {image.dockerfile})"
            )


class KindCluster:
    """A kind cluster on this machine's Docker (https://kind.sigs.k8s.io)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.directory = paths.state() / name
        self.kubeconfig = self.directory / "kind.kubeconfig"
        self.description = f"the kind cluster {name}"

    def running(self) -> bool:
        """Whether kind knows it."""
        return self.name in run([_kind(), "get", "clusters"]).split()

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def up(self, *, detached: bool = True) -> None:
        """Creates it; kind clusters are always detached."""
        kind = _kind()
        self.directory.mkdir(parents=True, exist_ok=True)
        with step(f"create the kind cluster {self.name}"):
            options = [f"--config={KIND_CONFIG}", f"--kubeconfig={self.kubeconfig}", "--wait=180s"]
            run([kind, "create", "cluster", f"--name={self.name}", *options])

    def down(self) -> None:
        """Deletes it; safe to repeat."""
        run([_kind(), "delete", "cluster", f"--name={self.name}", f"--kubeconfig={self.kubeconfig}"])
        shutil.rmtree(self.directory, ignore_errors=True)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """As the administrator."""
        return run([tools.binary("kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments], stdin=stdin)

    def provide(self, image: Image) -> None:
        """Builds with Docker and loads; a public image the node pulls by itself."""
        if image.dockerfile is None:
            return
        arguments = [f"--build-arg={key}={value}" for key, value in image.build_args.items()]
        context = image.context or image.dockerfile.parent
        with step(f"build image {image.tag} with Docker"), pip_settings.written() as pip:
            arguments += [f"--secret=id={Path(path).name},src={file}" for path, file in pip.mounts().items()]
            run(["docker", "build", f"--tag={image.tag}", f"--file={image.dockerfile}", *arguments, context])
        with step(f"load image {image.tag}"):
            run([_kind(), "load", "docker-image", image.tag, f"--name={self.name}"])


def docker_answers() -> bool:
    """Whether a Docker daemon can be talked to; a client alone, as in many containers, is not enough."""
    if not shutil.which("docker"):
        return False
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=10)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _kind() -> str:
    return shutil.which("kind") or str(tools.binary("kind"))
