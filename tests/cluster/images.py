"""Images without Docker: ordinary Dockerfiles, built by buildah on bases made by mmdebstrap, kept in the cache.

An archive is named by a hash of everything that it is made of (Dockerfile, context, arguments, bases), so an unchanged
image is never built twice, by whichever checkout or cluster.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pathspec import GitIgnoreSpec

from tests.cluster import paths, pip_settings
from tests.cluster.dockerfile import base_images, full_name, own_bases
from tests.cluster.errors import ClusterError
from tests.cluster.paths import locked
from tests.cluster.process import run
from tests.cluster.progress import step

BASES = Path(__file__).with_name("bases")
SUITE = "bookworm"  # its Python is 3.11, its Redis 7.0
KEPT_VERSIONS = 2  # archives of one image; older ones go when a new one is made
STORAGE_LIMIT_KIB = 10 * 2**20  # of buildah's layers; above it they are dropped, at the price of slower builds
HASH_LENGTH = 16
RECIPE = "1"  # part of every hash: raise it when the way of building changes


@dataclass(frozen=True)
class Base:
    """A public image that is made from Debian packages here."""

    folder: str  # of bases/: its Dockerfile
    packages: tuple[str, ...]
    suite: str = SUITE


# The signature of testing's index expires in a week; a mirror that lags is as good for this.
MAY_LAG = '--aptopt=Acquire::Check-Valid-Until "false"'
PYTHON = ("python3", "python3-pip", "python3-venv", "ca-certificates")
PUBLIC = {
    "docker.io/library/python:3.9-slim": Base("python", PYTHON, "bullseye"),
    "docker.io/library/python:3.11-slim": Base("python", PYTHON),
    "docker.io/library/python:3.13-slim": Base("python", PYTHON, "trixie"),
    "docker.io/library/python:3.14-slim": Base("python", PYTHON, "forky"),
    "docker.io/library/redis:7": Base("redis", ("redis-server", "redis-tools")),
}
PAUSE = "localhost/celeriac-pause:1"


@dataclass(frozen=True)
class Image:
    """An image that a cluster shall have: a public one (no Dockerfile), or one to build."""

    tag: str
    dockerfile: Path | None = None
    context: Path | None = None
    build_args: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As containerd writes it: registry, path and tag."""
        return full_name(self.tag)


REDIS = Image("redis:7")


@dataclass(frozen=True)
class ImageArchive:
    """A built image in the format of ``docker save``."""

    name: str
    path: Path

    def versions(self, directory: Path) -> Iterator[Path]:
        """The files of a folder that are named like the archives of this image, whatever their hash."""
        return directory.glob(f"{_file_name(self.name)}-{'[0-9a-f]' * HASH_LENGTH}.tar")


def provide(image: Image) -> ImageArchive:
    """The archive of an image, from the cache or built now."""
    if image.dockerfile is None:
        return base(image.name)
    return build(image.dockerfile, image.context or image.dockerfile.parent, image.tag, image.build_args)


def build(dockerfile: Path, context: Path, tag: str, build_args: Mapping[str, str] | None = None) -> ImageArchive:
    """Builds a Dockerfile, or finds the archive of the same build.

    Raises ClusterError when the Dockerfile starts from an image that cannot be made here, and when a step of it fails.
    """
    text = dockerfile.read_text()
    arguments = own_bases(text) | dict(build_args or {})
    bases = [base(name) for name in base_images(text, arguments)]
    name = full_name(tag)
    parts = [name, text, *(f"{key}={value}" for key, value in sorted(arguments.items())), *(b.path.name for b in bases)]
    archive = _archive(name, context_hash(context, dockerfile, parts))
    with locked(_directory()):
        if not archive.path.exists():
            with step(f"build image {tag}"), paths.scratch(_directory()) as scratch:
                _limit_storage()
                for parent in bases:
                    _ensure_stored(parent)
                _buildah_build(dockerfile, context, archive, arguments, scratch)
    return archive


def base(name: str) -> ImageArchive:
    """A public image, made from Debian packages; raises ClusterError for one that is not known here."""
    public = PUBLIC.get(name)
    if public is None:
        known = ", ".join(sorted(PUBLIC))
        raise ClusterError(f"without a registry there is no image {name}; start from one of {known}")
    folder = BASES / public.folder
    archive = _archive(name, context_hash(folder, folder / "Dockerfile", [name, public.suite, *public.packages]))
    with locked(_directory()):
        if not archive.path.exists():
            with step(f"make image {name} from Debian {public.suite}"), paths.scratch(_directory()) as scratch:
                context = scratch / "context"
                shutil.copytree(folder, context)
                packages = f"--include={','.join(public.packages)}"
                options = ["--quiet", "--variant=minbase", MAY_LAG, packages]
                run(["mmdebstrap", *options, public.suite, context / "rootfs.tar"])
                _buildah_build(context / "Dockerfile", context, archive, {}, scratch)
    return archive


def archives() -> list[Path]:
    """All archives in the cache."""
    return sorted(_directory().glob("*.tar"))


def pause() -> ImageArchive:
    """The image of every pod's pause process."""
    program = shutil.which("catatonit")
    if not program:
        raise ClusterError("catatonit is missing: run tests/cluster/install-packages")
    dockerfile = BASES / "pause" / "Dockerfile"
    with tempfile.TemporaryDirectory(prefix="celeriac-pause-") as context:
        shutil.copy(program, context)
        return build(dockerfile, Path(context), PAUSE)


def context_hash(context: Path, dockerfile: Path, parts: list[str]) -> str:
    """A hash of the files of a build context that .dockerignore lets through (path, executable bit, content)."""
    digest = hashlib.sha256()
    for part in (RECIPE, *parts):
        digest.update(part.encode() + b"\0")
    for file in sorted(context_files(context, dockerfile)):
        executable = "x" if file.stat().st_mode & 0o111 else "-"
        digest.update(f"{file.relative_to(context)}\0{executable}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:HASH_LENGTH]


def context_files(context: Path, dockerfile: Path) -> Iterator[Path]:
    """The files that a build may copy.

    The patterns of .dockerignore are those of .gitignore, but tied to the root of the context
    (https://docs.docker.com/build/concepts/context/#dockerignore-files).
    """
    own = dockerfile.with_name(f"{dockerfile.name}.dockerignore")
    ignore = own if own.exists() else context / ".dockerignore"
    lines = ignore.read_text().splitlines() if ignore.exists() else []
    spec = GitIgnoreSpec.from_lines([_rooted(line) for line in lines])
    return (p for p in context.rglob("*") if p.is_file() and not spec.match_file(str(p.relative_to(context))))


def _rooted(pattern: str) -> str:
    pattern = pattern.strip()
    if not pattern or pattern.startswith("#"):
        return ""
    sign, path = ("!", pattern[1:]) if pattern.startswith("!") else ("", pattern)
    return f"{sign}/{path.lstrip('/')}"


def _buildah_build(
    dockerfile: Path, context: Path, archive: ImageArchive, build_args: Mapping[str, str], scratch: Path
) -> None:
    """Builds in chroot isolation (root, but no daemon) and exports; the archive appears whole or not at all."""
    options = [f"--build-arg={key}={value}" for key, value in build_args.items()]
    options += [*ignore_file(dockerfile), f"--tag={archive.name}", f"--file={dockerfile}"]
    with pip_settings.written() as pip:
        options += [f"--volume={file}:{path}:ro" for path, file in pip.mounts().items()]
        buildah("bud", "--layers", "--isolation=chroot", "--pull=never", *options, context)
    part = scratch / "image.tar"
    buildah("push", archive.name, f"docker-archive:{part}:{archive.name}")
    part.replace(archive.path)
    _mark_stored(archive)
    remove_old_versions(archive)


def ignore_file(dockerfile: Path) -> list[str]:
    """The option for a Dockerfile's own list of files that its build leaves out, if it has one."""
    ignore = dockerfile.with_name(f"{dockerfile.name}.dockerignore")
    return [f"--ignorefile={ignore}"] if ignore.exists() else []


def remove_old_versions(archive: ImageArchive) -> None:
    """Keeps the newest KEPT_VERSIONS archives of an image: the operator's is made anew with each change of its code."""
    for old in sorted(archive.versions(_directory()), key=_modified)[:-KEPT_VERSIONS]:
        old.unlink()


def _ensure_stored(archive: ImageArchive) -> None:
    """Puts a base into buildah's own storage, in exactly the version of its archive."""
    if not _stored_marker(archive).exists():
        buildah("pull", f"docker-archive:{archive.path}")
        _mark_stored(archive)


def _mark_stored(archive: ImageArchive) -> None:
    """Remembers which version of an image buildah's storage has under its name."""
    marker = _stored_marker(archive)
    marker.parent.mkdir(exist_ok=True)
    for older in archive.versions(marker.parent):
        older.unlink()
    marker.touch()


def _stored_marker(archive: ImageArchive) -> Path:
    return _directory() / "stored" / archive.path.name


@contextmanager
def storage() -> Iterator[None]:
    """Holds buildah's storage for a build of another kind than those here: nobody drops its layers meanwhile."""
    with locked(_directory()):
        _limit_storage()
        yield


def buildah(*arguments: str | Path) -> str:
    """Runs buildah with a storage of its own, in a mount namespace that takes the storage's mounts with it."""
    storage = ["--storage-driver=overlay", f"--root={_directory()}/storage", f"--runroot={_directory()}/run"]
    return run(["unshare", "--mount", "buildah", *storage, *arguments])


def _limit_storage() -> None:
    storage = _directory() / "storage"
    if storage.exists() and int(run(["du", "--summarize", "--block-size=1K", storage]).split()[0]) > STORAGE_LIMIT_KIB:
        shutil.rmtree(storage)
        shutil.rmtree(_directory() / "stored", ignore_errors=True)


def _modified(file: Path) -> float:
    return file.stat().st_mtime


def _archive(name: str, key: str) -> ImageArchive:
    return ImageArchive(name, _directory() / f"{_file_name(name)}-{key}.tar")


def _file_name(name: str) -> str:
    return name.replace("/", "_").replace(":", "_")


def _directory() -> Path:
    directory = paths.cache() / "images"
    directory.mkdir(parents=True, exist_ok=True)
    return directory
