"""The base image of a dry run, for each architecture, from Debian's packages: where no public registry is reached."""

import tempfile
from pathlib import Path

from release.registry import Registry
from tests.cluster import images
from tests.cluster.process import run
from tests.cluster.progress import step

NAME = "python"
TAG = "3.11-slim"
AMD64 = f"docker.io/library/{NAME}:{TAG}"
SKELETON = ("base-files", "base-passwd", "bash", "coreutils", "dash", "libc-bin")
"""What Debian takes for granted, and what nothing else here depends on."""
PATHS = "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"


def publish(registry: Registry) -> str:
    """Push a base for both architectures; returns its reference by digest."""
    reference = registry.name(NAME)
    amd64, arm64 = f"{reference}:amd64", f"{reference}:arm64"
    archive = images.base(AMD64)
    with step("push the base image for linux/amd64"):
        registry.crane("push", archive.path, amd64)
    with tempfile.TemporaryDirectory(prefix="celeriac-base-") as directory:
        with step("make the base image for linux/arm64 from Debian, unpacked only: nothing of it is run"):
            root = _unpacked(Path(directory) / "rootfs.tar", "arm64")
        with step("push the base image for linux/arm64"):
            registry.crane("append", "--oci-empty-base", f"--new_layer={root}", f"--new_tag={arm64}")
            platform = ("--set-platform=linux/arm64", f"--env={PATHS}", "--env=LANG=C.UTF-8", "--cmd=python3")
            registry.crane("mutate", *platform, f"--tag={arm64}", arm64)
    registry.crane("index", "append", f"--manifest={amd64}", f"--manifest={arm64}", f"--tag={reference}:{TAG}")
    return f"{reference}@{registry.digest(f'{reference}:{TAG}')}"


def _unpacked(target: Path, architecture: str) -> Path:
    packages = ",".join((*SKELETON, *images.PYTHON))
    options = ["--quiet", "--variant=extract", f"--architectures={architecture}", f"--include={packages}"]
    link = 'mkdir -p "$1/usr/local/bin" && ln -s /usr/bin/python3 "$1/usr/local/bin/python"'
    run(["mmdebstrap", *options, images.MAY_LAG, f"--customize-hook={link}", images.SUITE, target])
    return target
