"""The images: each Dockerfile for each architecture, pushed as one index.

No code of another architecture is run: the stages that run something are of this machine's, and install the wheels of
the other (see the Dockerfiles).
"""

import platform
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from release.registry import ARCHITECTURES, Registry
from release.versions import ROOT
from tests.cluster import pip_settings
from tests.cluster.errors import ClusterError
from tests.cluster.images import buildah, ignore_file, storage
from tests.cluster.progress import step

HERE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "amd64")


BUILD_STAGE = "FROM --platform=${BUILDPLATFORM} ${BASE} AS build"


@dataclass(frozen=True)
class Recipe:
    """An image of the release: its name in the registry and what it is built from."""

    name: str
    dockerfile: Path
    context: Path


RECIPES = (
    Recipe("celeriac", ROOT / "operator" / "Dockerfile", ROOT),
    Recipe("celeriac-demo", ROOT / "worker-image" / "Dockerfile", ROOT / "worker-image"),
)


@dataclass(frozen=True)
class Pushed:
    """What was pushed: the index by its digest, and the image of each architecture by its own."""

    name: str
    reference: str  # REGISTRY/NAME, without a tag
    digest: str
    platforms: Mapping[str, str]

    @property
    def by_digest(self) -> str:
        """The reference that always means this very index."""
        return f"{self.reference}@{self.digest}"


def publish(recipe: Recipe, registry: Registry, version: str, base: str | None) -> Pushed:
    """Build an image for each architecture and push all under one tag.

    `base` takes the place of the public base image that the Dockerfile names by digest.
    """
    reference = registry.name(recipe.name)
    manifest = f"{reference}:{version}"
    built = {arch: f"{manifest}-{arch}" for arch in ARCHITECTURES}
    for arch, name in built.items():
        with step(f"build {recipe.name} for linux/{arch}"):
            _build(recipe, registry, name, arch, base)
        with step(f"push {recipe.name} for linux/{arch}"):
            buildah("push", *_plain(registry), name, f"docker://{name}")
            buildah("rmi", name)
    with step(f"push {manifest}"):
        registry.crane("index", "append", *(f"--manifest={name}" for name in built.values()), f"--tag={manifest}")
    return Pushed(recipe.name, reference, registry.digest(manifest), registry.platforms(manifest))


def _build(recipe: Recipe, registry: Registry, name: str, arch: str, base: str | None) -> None:
    options = [f"--tag={name}", f"--platform=linux/{arch}", "--isolation=chroot", "--format=oci", *_plain(registry)]
    # buildx sets both by itself; buildah before 1.30 does not, where --platform is given.
    options += [f"--build-arg=BUILDPLATFORM=linux/{HERE}", f"--build-arg=BUILDARCH={HERE}"]
    text = recipe.dockerfile.read_text()
    index = base or own_base(text)
    bases = {each: f"{index.partition('@')[0]}@{digest}" for each, digest in registry.platforms(index).items()}
    options.append(f"--build-arg=BASE={bases[arch]}")
    with storage(), pip_settings.written() as pip, tempfile.NamedTemporaryFile("w", suffix=".Dockerfile") as dockerfile:
        dockerfile.write(with_own_build_stage(text, bases[HERE]))
        dockerfile.flush()
        options.append(f"--file={dockerfile.name}")
        options += [f"--volume={file}:{path}:ro" for path, file in pip.mounts().items()]
        buildah("bud", "--layers", "--pull", *ignore_file(recipe.dockerfile), *options, recipe.context)


def own_base(dockerfile: str) -> str:
    """The base that a Dockerfile names, by digest."""
    found = re.search(r"^ARG BASE=(\S+)$", dockerfile, re.MULTILINE)
    if not found:
        raise ClusterError("a Dockerfile of a release names its base by ARG BASE=")
    return found.group(1)


def with_own_build_stage(dockerfile: str, base: str) -> str:
    """The Dockerfile whose build stage names the base of this machine by a digest of its own.

    buildah 1.28 takes the image that one stage has pulled for another stage of the same reference, whatever its
    architecture: the image for arm64 stood on the base for amd64.
    """
    changed = dockerfile.replace(BUILD_STAGE, f"FROM --platform=linux/{HERE} {base} AS build")
    if changed == dockerfile:
        raise ClusterError(f"a Dockerfile of a release has the line {BUILD_STAGE}")
    return changed


def _plain(registry: Registry) -> list[str]:
    return ["--tls-verify=false"] if registry.plain else []
