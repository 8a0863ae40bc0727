"""kubectl-celery as archives that need nothing but a Python, and their manifest for krew."""

import gzip
import hashlib
import io
import os
import re
import shutil
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from release.versions import ROOT
from tests.cluster.process import run

PROGRAM = "kubectl-celery"
PLATFORMS = {
    ("linux", "amd64"): "x86_64-manylinux_2_28",
    ("linux", "arm64"): "aarch64-manylinux_2_28",
    ("darwin", "amd64"): "x86_64-apple-darwin",
    ("darwin", "arm64"): "aarch64-apple-darwin",
}
"""Operating system and architecture as krew names them, and as uv does."""
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
OPERATOR_ONLY = ("aiodns", "aiohttp", "kopf", "prometheus-client", "redis")
"""What the operator needs and the plugin does not."""
START = '''#!/usr/bin/env python3
"""kubectl celery: the pools of a cluster. What it needs is in the folder lib beside this file."""

import sys
from pathlib import Path

if not (3, 11) <= sys.version_info < (3, 15):
    sys.exit(f"kubectl celery needs Python 3.11, 3.12, 3.13 or 3.14; python3 is {sys.version.split()[0]}")
sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))

from celeriac.cli.kubectl import main

main()
'''


def archives(wheel: Path, folder: Path, version: str, moment: int) -> dict[tuple[str, str], Path]:
    """Make the archive of each platform in `folder`.

    `moment` (Unix seconds) is the time of each file, so that an archive is the same each time.
    """
    requirements = folder / "plugin-requirements.txt"
    leave_out = [word for name in OPERATOR_ONLY for word in ("--prune", name)]
    export: list[str | Path] = ["export", "--quiet", "--frozen", "--no-dev", "--no-emit-project", "--project", ROOT]
    run([_uv(), *export, *leave_out, "--output-file", requirements])
    made = {}
    for (system, machine), platform in PLATFORMS.items():
        content = folder / "plugin"
        _fill(content, wheel, requirements, platform)
        made[system, machine] = folder / f"{PROGRAM}-{version}-{system}-{machine}.tar.gz"
        _pack(content, made[system, machine], moment)
        shutil.rmtree(content)
    requirements.unlink()
    return made


def _fill(content: Path, wheel: Path, requirements: Path, platform: str) -> None:
    """The files of one platform: what is compiled for each Python lies over what is the same for all of them."""
    lib, other = content / "lib", content / "other"
    _install(lib, requirements, platform, PYTHONS[0])
    some = content / "compiled.txt"
    some.write_text(only(requirements.read_text(), compiled(lib)))
    for python in PYTHONS[1:]:
        _install(other, some, platform, python)
        shutil.copytree(other, lib, dirs_exist_ok=True)
        shutil.rmtree(other)
    some.unlink()
    shutil.rmtree(lib / "bin", ignore_errors=True)
    with zipfile.ZipFile(wheel) as own:
        own.extractall(lib)
    shutil.copy(ROOT / "LICENSE", content)
    start = content / PROGRAM
    start.write_text(START)
    start.chmod(0o755)


def _install(target: Path, requirements: Path, platform: str, python: str) -> None:
    # Copies: what is laid over these files must not reach uv's cache, to which they would be links.
    options = ["--quiet", "--no-deps", "--no-build", "--link-mode=copy", "--python-platform", platform]
    where: list[str | Path] = ["--python-version", python, "--target", target, "--requirements", requirements]
    run([_uv(), "pip", "install", "--require-hashes", *options, *where])


def compiled(lib: Path) -> set[str]:
    """The installed packages that have compiled parts, by their names in requirements."""
    records = lib.glob("*.dist-info/RECORD")
    return {
        record.parent.name.partition("-")[0].lower().replace("_", "-")
        for record in records
        if any(line.partition(",")[0].endswith(".so") for line in record.read_text().splitlines())
    }


def only(requirements: str, names: set[str]) -> str:
    """The requirements of these packages, with their hashes."""
    every = re.findall(r"^[a-z0-9].*?(?=^[a-z0-9]|\Z)", requirements, re.MULTILINE | re.DOTALL)
    return "".join(each for each in every if each.partition("==")[0] in names)


def _uv() -> str:
    return os.environ.get("UV", "uv")


def _pack(content: Path, target: Path, moment: int) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for file in sorted(each for each in content.rglob("*") if each.is_file()):
            member = archive.gettarinfo(file, str(file.relative_to(content)))
            member.mtime, member.uid, member.gid, member.uname, member.gname = moment, 0, 0, "", ""
            member.mode = 0o755 if file.stat().st_mode & 0o111 else 0o644
            with file.open("rb") as data:
                archive.addfile(member, data)
    target.write_bytes(gzip.compress(plain.getvalue(), mtime=0))


def krew_manifest(archives: Mapping[tuple[str, str], Path], version: str, downloads: str) -> dict[str, Any]:
    """The manifest by which krew installs the archives from `downloads`, the URL of the folder that has them."""
    platforms = [
        {
            "selector": {"matchLabels": {"os": system, "arch": machine}},
            "uri": f"{downloads}/{archive.name}",
            "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
            "bin": PROGRAM,
        }
        for (system, machine), archive in archives.items()
    ]
    spec = {
        "version": f"v{version}",
        "shortDescription": "See and steer Celery worker pools of Celeriac",
        "description": (
            "Lists the CeleryWorkerPools of a cluster, explains why each has the replicas that it has,\n"
            "what is wrong and what to do, shows queues, dead letters and logs, drains and restarts workers.\n"
        ),
        "caveats": f"Needs python3 on the PATH: {', '.join(PYTHONS)}.\n",
        "platforms": platforms,
    }
    return {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": "celery"},
        "spec": spec,
    }
