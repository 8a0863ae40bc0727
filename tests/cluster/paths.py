"""Where programs, images and the state of running clusters are kept: XDG base directories, never the checkout."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SCRATCH = ".building-"


def cache() -> Path:
    """Built programs and images: safe to delete at any time, costs a rebuild."""
    return _xdg("XDG_CACHE_HOME", ".cache")


def state() -> Path:
    """One folder for each running cluster."""
    return _xdg("XDG_STATE_HOME", ".local/state") / "clusters"


@contextmanager
def locked(directory: Path, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Holds a folder's lock between processes; calls ``waiting`` if another one has it.

    The lock is the folder's own, so no lock file stays, and the kernel releases it when its holder dies.
    """
    directory.mkdir(parents=True, exist_ok=True)
    handle = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def scratch(directory: Path) -> Iterator[Path]:
    """A temporary folder inside a locked one: what is finished moves out in one step.

    Whatever a killed holder of the lock left is removed first.
    """
    for left in directory.glob(f"{SCRATCH}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix=SCRATCH) as name:
        yield Path(name)


def _xdg(variable: str, default: str) -> Path:
    """The XDG rule: an unset, empty or relative value counts as the default.

    Symbolic links are followed, so that it is the path that mounts and processes of a node show.
    """
    value = Path(os.environ.get(variable, ""))
    return (value if value.is_absolute() else Path.home() / default).resolve() / "celeriac"
