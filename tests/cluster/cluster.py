"""A one-node Kubernetes cluster on this machine, without Docker: real kubelet, scheduler, Services and pods.

>>> with Cluster("mine") as cluster:
...     cluster.provide(images.REDIS)
...     cluster.kubectl("run", "redis", "--image=redis:7")
"""

import os
import re
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from string import Template
from types import TracebackType
from typing import Self

from tests.cluster import images, paths, tools
from tests.cluster.control_plane import Addresses, ControlPlane
from tests.cluster.errors import ClusterError
from tests.cluster.images import Image, ImageArchive
from tests.cluster.process import run, wait_until
from tests.cluster.progress import step
from tests.cluster.sandbox import Sandbox, Slot

CONFIG = Path(__file__).with_name("config")
CNI_PROGRAMS = ("/usr/lib/cni", "/opt/cni/bin")  # Debian's place, everybody else's
PROGRAMS = (
    "containerd",
    "ctr",
    "runc",
    "buildah",
    "mmdebstrap",
    "catatonit",
    "etcd",
    "nft",
    "ip",
    "nsenter",
    "openssl",
)
NODE = "node"
READY_SECONDS = 60.0
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


class Cluster:
    """A cluster of its own; use it as a context manager, or ``up`` with ``detached`` and later ``down``.

    Any number of them run beside each other under different names. Not detached, it ends with this process, however
    that ends; nothing of it stays on the machine but the programs and images in the cache.
    """

    def __init__(self, name: str | None = None) -> None:
        self.name = name or f"run-{os.getpid()}"
        if not NAME.fullmatch(self.name):
            raise ClusterError(
                f"a cluster cannot be called {self.name!r}: lower-case letters, digits and '-', 32 at most"
            )
        self.directory = paths.state() / self.name
        self._sandbox = Sandbox(self.name, self.directory)

    @property
    def description(self) -> str:
        """Which cluster this is, in words."""
        return f"the one-node cluster {self.name}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.directory / "control-plane" / "admin.kubeconfig"

    @property
    def control_plane(self) -> ControlPlane:
        """The cluster's API: audit log, kubeconfigs of other users."""
        return ControlPlane(
            self.directory / "control-plane",
            controllers=True,
            launcher=self._sandbox,
            addresses=_addresses(self.slot),
        )

    @property
    def slot(self) -> Slot:
        """Its addresses: node, pods, services, and this machine as pods see it."""
        return self._sandbox.slot()

    def running(self) -> bool:
        """Whether its first process runs."""
        return self._sandbox.init() is not None

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def up(self, *, detached: bool = False) -> None:
        """Starts everything and waits until pods can run; raises ClusterError with the end of a log otherwise."""
        _check_machine()
        programs = tools.binaries([*tools.CONTROL_PLANE, *tools.NODE])
        pause = images.pause()
        with paths.locked(paths.state()):
            if self.running():
                raise ClusterError(f"the cluster {self.name} runs already; take another name, or end it with down")
            self._sandbox.destroy()
            with step(f"make the namespaces of cluster {self.name}"):
                slot = self._sandbox.create(detached=detached)
        try:
            self._write_configuration(slot)
            with ThreadPoolExecutor() as pool:
                node = pool.submit(self._start_containerd, pause)
                self.control_plane.start()
                node.result()
            self._start_node(programs, slot)
        except BaseException:
            self.down()
            raise

    def down(self, *, generation: str | None = None) -> None:
        """Ends it and removes everything; also after a crash, and safe to repeat.

        ``generation``: only if it is that run of the cluster still, and not the next one of the same name.
        """
        with paths.locked(paths.state()):
            if not self.directory.exists() or (generation and not self._sandbox.is_generation(generation)):
                return
            with step(f"remove the cluster {self.name}"):
                self._sandbox.destroy()

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Runs kubectl as the administrator and returns its output; raises ClusterError with what it said."""
        return run([tools.binary("kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments], stdin=stdin)

    def provide(self, image: Image) -> None:
        """Makes an image (or takes it from the cache) and loads it; pods then find it without a registry."""
        self.load(images.provide(image))

    def load(self, archive: ImageArchive) -> None:
        """Loads an image; at once when the node has this very archive already."""
        marker = self.directory / "loaded" / archive.path.name
        with paths.locked(self.directory / "loading" / archive.path.name):
            if marker.exists():
                return
            with step(f"load image {archive.name}"):
                self._import(archive)
            marker.parent.mkdir(exist_ok=True)
            for older in archive.versions(marker.parent):
                older.unlink(missing_ok=True)
            marker.touch()

    def pull_without_tls(self, registry: str) -> None:
        """Lets the node pull from a registry (HOST:PORT) that speaks plain HTTP."""
        folder = self.directory / "registries" / registry
        folder.mkdir(parents=True)
        (folder / "hosts.toml").write_text(f'server = "http://{registry}"\n[host."http://{registry}"]\n')

    def _write_configuration(self, slot: Slot) -> None:
        directory = self.directory / "config"
        directory.mkdir()
        values = {
            "directory": self.directory,
            "ca": self.control_plane.pki.ca,
            "cgroup": self._sandbox.cgroup,
            "cni_programs": next(path for path in CNI_PROGRAMS if Path(path, "ptp").exists()),
            "dns": _dns_address(slot),
            "node": slot.node,
            "pause": images.PAUSE,
            "pods": slot.pods,
        }
        for file in CONFIG.iterdir():
            (directory / file.name).write_text(Template(file.read_text()).substitute(values))
        (directory / "resolv.conf").touch()

    def _start_containerd(self, pause: ImageArchive) -> None:
        containerd = self._sandbox.start(
            "containerd", ["containerd", f"--config={self.directory}/config/containerd.toml"]
        )

        def answers() -> bool:
            return subprocess.run(self._ctr("version"), capture_output=True, check=False).returncode == 0

        wait_until(answers, "a containerd that answers", seconds=READY_SECONDS, processes=[containerd])
        self._import(pause)

    def _import(self, archive: ImageArchive) -> None:
        with archive.path.open("rb") as file:
            done = subprocess.run(self._ctr("images", "import", "-"), stdin=file, capture_output=True, check=False)
        if done.returncode != 0:
            raise ClusterError(f"loading {archive.name} failed: {done.stderr.decode(errors='replace')}")

    def _ctr(self, *arguments: str) -> list[str]:
        return self._sandbox.enter(["ctr", "--address=/run/containerd.sock", "--namespace=k8s.io", *arguments])

    def _start_node(self, programs: dict[str, Path], slot: Slot) -> None:
        """Everything that needs the API, at once; it is there by now."""
        control_plane = self.control_plane
        for name, user, groups in (
            ("node", f"system:node:{NODE}", ("system:nodes",)),
            ("dns", "celeriac-test-dns", ()),
        ):
            control_plane.pki.client(name, user, groups)
            control_plane.pki.kubeconfig(control_plane.url, control_plane.directory / f"{name}.kubeconfig", name)
        with step("start scheduler, kubelet, kube-proxy and CoreDNS"):
            self.kubectl("apply", f"--filename={self.directory}/config/dns.yaml")
            processes = [
                self._sandbox.start(name, [str(programs[name]), *options])
                for name, options in self._node_options(slot).items()
            ]
            for what, ready in (("a ready node", self._node_ready), ("a name service", partial(self._dns_ready, slot))):
                wait_until(ready, what, seconds=READY_SECONDS, processes=processes, every=0.3)

    def _node_options(self, slot: Slot) -> dict[str, list[str]]:
        folder = self.control_plane.directory
        scheduler = f"{folder}/scheduler.kubeconfig"
        return {
            "kubelet": [
                f"--config={self.directory}/config/kubelet.yaml",
                f"--kubeconfig={folder}/node.kubeconfig",
                f"--hostname-override={NODE}",
                f"--node-ip={slot.node}",
                f"--cert-dir={self.directory}/kubelet-pki",
            ],
            "kube-scheduler": [
                f"--kubeconfig={scheduler}",
                f"--authentication-kubeconfig={scheduler}",
                f"--authorization-kubeconfig={scheduler}",
                "--leader-elect=false",
            ],
            "kube-proxy": [
                f"--kubeconfig={folder}/proxy.kubeconfig",
                "--proxy-mode=nftables",
                f"--cluster-cidr={slot.pods}",
                f"--hostname-override={NODE}",
                "--conntrack-max-per-core=0",  # it would set a limit of the whole machine
            ],
            "coredns": [f"-conf={self.directory}/config/Corefile"],
        }

    def _node_ready(self) -> bool:
        conditions = "{.items[*].status.conditions[?(@.type=='Ready')].status}"
        return self.kubectl("get", "nodes", f"--output=jsonpath={conditions}") == "True"

    def _dns_ready(self, slot: Slot) -> bool:
        """CoreDNS listens only once it has read all Services."""
        try:
            with socket.create_connection((slot.node, 53), timeout=1):
                return True
        except OSError:
            return False


def _addresses(slot: Slot) -> Addresses:
    return Addresses(host=slot.node, pods=slot.pods, services=slot.services)


def _dns_address(slot: Slot) -> str:
    """The tenth address, by convention."""
    return str(slot.services.network_address + 10)


def missing_programs() -> list[str]:
    """What this machine lacks to be a node; tests/cluster/install-packages brings it."""
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    return missing if any(Path(path, "ptp").exists() for path in CNI_PROGRAMS) else [*missing, "CNI plugins"]


def _check_machine() -> None:
    """Raises ClusterError when this machine cannot be a node, with what to do about it."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise ClusterError("a node of our own needs Linux and root; elsewhere start Docker or set CELERIAC_KUBECONFIG")
    if missing := missing_programs():
        raise ClusterError(f"missing: {', '.join(missing)}; run tests/cluster/install-packages")
