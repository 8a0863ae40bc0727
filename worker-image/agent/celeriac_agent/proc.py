"""What the kernel tells of this worker: whether SIGTERM reaches it, and which processes are still running."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

SIGTERM_BIT = 1 << 14
LEAVE_SECONDS = 5.0  # that a new child may take to leave its worker's group on a busy machine


def takes_sigterm(status: str) -> bool | None:
    """Whether a process, by its /proc/<pid>/status, catches or blocks SIGTERM; None if the text does not say."""
    masks = re.findall(r"^Sig(?:Cgt|Blk):\s*([0-9a-fA-F]+)$", status, re.MULTILINE)
    return any(int(mask, 16) & SIGTERM_BIT for mask in masks) if len(masks) == 2 else None


def parent_of(status: str) -> int:
    """The parent's pid by /proc/<pid>/status; 0 if the text does not say."""
    found = re.search(r"^PPid:\s*(\d+)$", status, re.MULTILINE)
    return int(found.group(1)) if found else 0


def sigterm_arrives(pid: int, read: Callable[[int], str]) -> bool | None:
    """Whether every ancestor up to PID 1 takes SIGTERM: one that does not is a shell that keeps it from the worker."""
    try:
        ancestor = parent_of(read(pid)) if pid != 1 else 0
        while ancestor > 0:
            status = read(ancestor)
            taken = takes_sigterm(status)
            if not taken:
                return taken
            ancestor = parent_of(status) if ancestor != 1 else 0
    except OSError:
        return None
    return True


def init_of(pid: int) -> str:
    """The name of PID 1, cut to 15 bytes by the kernel, if that is another process than `pid`; "" else."""
    try:
        return Path("/proc/1/comm").read_text(errors="replace").strip() if pid != 1 else ""
    except OSError:
        return ""


class OwnGroup:
    """Watches who is in the process group of this process: an init may signal all of them."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}

    def holds(self, children: Iterable[int], now: float) -> bool:
        """Whether a child has been in it for long: a new one leaves the group with its first lines."""
        here = {child for child in children if _group(child) == os.getpgid(0)}
        self._since = {child: self._since.get(child, now) for child in here}
        return any(now - since >= LEAVE_SECONDS for since in self._since.values())


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except OSError:
        return None


def read_status(pid: int) -> str:
    """The text of /proc/<pid>/status."""
    return Path(f"/proc/{pid}/status").read_text()


def start_ticks(pid: int) -> str:
    """When a process started, in ticks since boot; "" if it is gone.

    A pid may be given again in a new container, a pid with the same start is the same process.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""


def is_alive(pid: Any, ticks: Any) -> bool:
    """Whether the process that had this pid and start is still running."""
    return isinstance(pid, int) and bool(ticks) and start_ticks(pid) == ticks
