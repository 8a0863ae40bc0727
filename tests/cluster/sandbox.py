"""PID, mount and network namespaces of one cluster: clusters do not meet, nothing outlives the first process.

When that process ends the kernel kills every other in its PID namespace (containers too) and drops the mounts and the
network with its rules. Only control groups and the folder remain to be removed.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from ipaddress import IPv4Network
from pathlib import Path

from tests.cluster import paths
from tests.cluster.errors import ClusterError
from tests.cluster.process import GUARD, Process, children_of, run, wait_until

INIT = Path(__file__).with_name("sandbox-init")
CHECKOUT = Path(__file__).resolve().parents[2]
CGROUPS = Path("/sys/fs/cgroup")
PODS_SHARE = {"cpu.shares": 8 * 1024, "cpu.weight": 8 * 100}
"""Of a busy machine's CPU the pods together get as much as eight processes (version 1 of control groups, version 2).

As much as one, which is the kernel's default, is a few per cent for all of them where an API server and tests run too:
on two CPUs an idle worker took 20 s to end, and a new one 45 s to consume.
"""
HIDDEN = ("/run", "/var/run", "/var/lib", "/var/log")  # replaced inside (sandbox-init)
SLOTS = range(32)  # clusters beside each other on one machine
START_SECONDS = 20.0
END_SECONDS = 30.0


@dataclass(frozen=True)
class Slot:
    """The addresses of one cluster; its host interface is what reserves them, and that vanishes with the namespace."""

    number: int

    @property
    def interface(self) -> str:
        """On the machine; its peer is eth0 inside."""
        return f"celeriac{self.number}"

    @property
    def host(self) -> str:
        """The machine, seen from inside."""
        return f"198.18.{self.number}.1"

    @property
    def node(self) -> str:
        """The node, seen from the machine and the pods."""
        return f"198.18.{self.number}.2"

    @property
    def pods(self) -> IPv4Network:
        """The machine has a route to it."""
        return IPv4Network(f"10.{192 + 2 * self.number}.0.0/16")

    @property
    def services(self) -> IPv4Network:
        """The machine has a route to it."""
        return IPv4Network(f"10.{193 + 2 * self.number}.0.0/16")


@dataclass(frozen=True)
class Init:
    """The first process of a sandbox; its start time (clock ticks since boot) tells it from a later namesake."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "Init":
        """Raises FileNotFoundError when no such process runs."""
        return cls(pid, _start_time(pid))

    def alive(self) -> bool:
        """Whether it still runs."""
        with contextlib.suppress(OSError):
            return _start_time(self.pid) == self.started
        return False


class Sandbox:
    """The namespaces of the cluster ``name``; all that it keeps is under ``directory``."""

    def __init__(self, name: str, directory: Path) -> None:
        for folder, variable in ((directory, "XDG_STATE_HOME"), (paths.cache(), "XDG_CACHE_HOME")):
            if any(folder.resolve().is_relative_to(hidden) for hidden in HIDDEN):
                raise ClusterError(f"{folder} is hidden from the node; set {variable} to a folder outside {HIDDEN}")
        self.name = name
        self.directory = directory
        self.cgroup = f"celeriac-{name}"
        self._record = directory / "sandbox.json"
        self._generation = directory / "generation"
        self._outermost: Process | None = None

    def create(self, *, detached: bool) -> Slot:
        """Makes the namespaces; unless ``detached`` they end with this process, however it ends."""
        self.directory.mkdir(parents=True)
        generation = secrets.token_hex(8)
        self._generation.write_text(generation)
        command = ["unshare", "--pid", "--mount", "--net", "--fork", "--kill-child", "--mount-proc"]
        unshare = self._start([*command, str(INIT), str(self.directory)], None if detached else generation)
        self._outermost = unshare
        ready = self.directory / "sandbox-ready"
        wait_until(ready.exists, "namespaces", seconds=START_SECONDS, processes=[unshare], every=0.02)
        init = Init.of(_first_process_below(unshare.pid))
        self._record.write_text(json.dumps(asdict(init)))
        self._make_cgroups()
        slot = self._connect(init.pid)
        (self.directory / "slot").write_text(str(slot.number))
        return slot

    def slot(self) -> Slot:
        """The addresses that ``create`` reserved; raises ClusterError when there are none."""
        try:
            return Slot(int((self.directory / "slot").read_text()))
        except FileNotFoundError:
            raise ClusterError(f"the cluster {self.name} is not running") from None

    def init(self) -> Init | None:
        """The first process, if it runs."""
        with contextlib.suppress(FileNotFoundError):
            init = Init(**json.loads(self._record.read_text()))
            return init if init.alive() else None
        return None

    def enter(self, command: Sequence[str]) -> list[str]:
        """The command line that runs a command inside."""
        init = self.init()
        if init is None:
            raise ClusterError(f"the cluster {self.name} is not running")
        return ["nsenter", f"--target={init.pid}", "--pid", "--mount", "--net", "--", *command]

    def start(self, name: str, command: Sequence[str]) -> Process:
        """Starts a program inside; it ends with the sandbox."""
        log = self.directory / f"{name}.log"
        with log.open("ab") as output:
            popen = subprocess.Popen(
                self.enter(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        return Process(name, popen, log)

    def is_generation(self, generation: str) -> bool:
        """Whether this is the sandbox of that one ``create``, and not a later one of the same name."""
        return self._generation.exists() and self._generation.read_text() == generation

    def destroy(self) -> None:
        """Ends everything inside and removes what is left; works from the record alone and is safe to repeat."""
        init = self.init()
        if init:
            with contextlib.suppress(ClusterError):  # the kernel would do it too, but some time later
                subprocess.run(["ip", "link", "delete", self.slot().interface], capture_output=True, check=False)
            os.kill(init.pid, signal.SIGKILL)
            wait_until(lambda: not init.alive(), "the end of all processes", seconds=END_SECONDS, every=0.02)
        if self._outermost:  # outside the namespaces, where nothing ends it but the end of what it waits for
            self._outermost.stop()
        wait_until(self._remove_cgroups, f"the end of the control groups {self.cgroup}", seconds=END_SECONDS)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _start(self, command: list[str], guarded_generation: str | None) -> Process:
        """Starts the namespaces; the guard, if any, cleans up after its own generation only."""
        log = self.directory / "sandbox.log"
        clean_up = [sys.executable, "-m", "tests.cluster", "down", "--name", self.name, "--generation"]
        guard: list[str] = []
        if guarded_generation:
            then = json.dumps([*clean_up, guarded_generation])
            guard = [sys.executable, "-I", "-S", str(GUARD), "--then", then, "--"]
        with log.open("ab") as output:
            popen = subprocess.Popen(
                [*guard, *command],
                stdin=subprocess.PIPE if guard else subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd=CHECKOUT,
            )
        return Process("namespaces", popen, log)

    def _connect(self, init: int) -> Slot:
        """A cable between the machine and the node; the first free interface name is the cluster's number."""
        taken = _routes()
        for slot in map(Slot, SLOTS):
            if any(slot.pods.overlaps(route) or slot.services.overlaps(route) for route in taken):
                continue
            cable = ["ip", "link", "add", slot.interface, "type", "veth", "peer", "name", "eth0", "netns", str(init)]
            if subprocess.run(cable, capture_output=True, check=False).returncode == 0:
                self._configure(slot)
                return slot
        raise ClusterError(
            f"no addresses left for a cluster: {len(SLOTS)} run here already, or routes cover 10.192.0.0/10"
        )

    def _configure(self, slot: Slot) -> None:
        outside = [
            f"address add {slot.host}/30 dev {slot.interface}",
            f"link set {slot.interface} up",
            f"route add {slot.pods} via {slot.node}",
            f"route add {slot.services} via {slot.node}",
        ]
        inside = ["link set lo up", f"address add {slot.node}/30 dev eth0", "link set eth0 up"]
        run(["ip", "-batch", "-"], stdin="\n".join(outside))
        run(self.enter(["ip", "-batch", "-"]), stdin="\n".join(inside))
        run(self.enter(["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]))

    def _make_cgroups(self) -> None:
        for parent in _cgroup_parents():
            group = parent / self.cgroup
            group.mkdir(exist_ok=True)
            for setting in ("cpuset.cpus", "cpuset.mems"):  # version 1: empty in a new group, and nothing may run in it
                if (group / setting).exists() and not (group / setting).read_text().strip():
                    (group / setting).write_text((parent / setting).read_text())
            for setting, share in PODS_SHARE.items():
                if (group / setting).exists():
                    (group / setting).write_text(str(share))

    def _remove_cgroups(self) -> bool:
        """Removes the groups from the leaves up; false while one is busy still (its last process is being reaped)."""
        for parent in _cgroup_parents():
            for directory, _, _ in os.walk(parent / self.cgroup, topdown=False):
                with contextlib.suppress(OSError):
                    Path(directory).rmdir()
        return not any((parent / self.cgroup).exists() for parent in _cgroup_parents())


def _first_process_below(pid: int) -> int:
    """The descendant that is number 1 of a PID namespace; every process on the way has exactly one child."""
    while not _status(pid, "NSpid").endswith("\t1"):
        pid = children_of(pid)[0]
    return pid


def _status(pid: int, key: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line for line in lines if line.startswith(f"{key}:"))


def _start_time(pid: int) -> int:
    """Field 22 of proc_pid_stat(5); raises FileNotFoundError for a process that has ended, a zombie too."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if fields[0] in "ZX":
        raise FileNotFoundError(pid)
    return int(fields[19])


def _routes() -> list[IPv4Network]:
    """This machine's routes, but wide ones (a default, 10.0.0.0/8 of a VPN): those give way to narrower ones."""
    found = [route["dst"] for route in json.loads(run(["ip", "-json", "-4", "route"]) or "[]")]
    return [net for net in (IPv4Network(dst) for dst in found if dst != "default") if net.prefixlen > 8]


def _cgroup_parents() -> list[Path]:
    """The roots in which a cluster has a group: the only one (version 2), or one of each controller (version 1).

    "unified" is version 2 mounted beside version 1: it has no controllers, but runc makes its groups there too.
    """
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [path for path in CGROUPS.iterdir() if path.is_dir() and not path.is_symlink()]
