"""The one line that says why a container has ended, out of the last lines of its log.

The kubelet puts the end of the log into the Pod's status: 80 lines and 2,048 bytes at most, where the exit code is not
0 (terminationMessagePolicy FallbackToLogsOnError). Most of that explains nothing, and a line that a task has logged may
hold its arguments. So a line is told for what it is known to be: an exception that has ended Python (CPython's
traceback.py), what Celery and click say of a command line (celery/bin, click/exceptions.py), a word of a shell, of an
init, of the loader of shared libraries. Any other is told only where no worker has begun.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from celeriac.api.words import foreign
from celeriac.cluster.credentials import without_credentials

WHOLE_BYTES: Final = 2000
"""A log that is shorter was not cut (kubelet: MaxContainerTerminationMessageLogLength, 2,048)."""
WHOLE_LINES: Final = 80
LONGEST_LOG: Final = 4096  # characters: what a container writes to its terminationMessagePath is cut to that
LONGEST: Final = 240  # characters of a line that are told
FRAME_LINES: Final = 8  # of a frame: the place, lines of code, carets, and how often it is repeated
KILLED: Final = frozenset({137, 143})
"""Exit codes of a process that was sent SIGKILL or SIGTERM: its last words are not the reason."""

_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
_BANNER: Final = re.compile(r"^ ?-{3,}.* v\d|\[queues\]|@\S+ ready\.$|/(MainProcess|ForkPoolWorker-\d+)\]")
"""Signs of a worker that has begun: its banner, and the lines that Celery writes to its log."""
_OF_A_TASK: Final = re.compile(r"Task .*(\[[\w-]+\]|raised)|Received task|celery/app/trace\.py")
"""What a traceback has before it, or in it, which is that of a task (celery.app.trace)."""
_EXCEPTION: Final = re.compile(r"(?P<name>(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)(?P<text>: .*)?")
_HEAD: Final = "Traceback (most recent call last):"
_OF_CODE: Final = re.compile(r"(Module|Import|Syntax|Indentation|Tab|Name|Attribute|Recursion)(NotFound)?Error|Improp")
"""Exceptions whose text is about code and settings, never about the values that a task was given."""
_AT_START: Final = re.compile(
    r", in <module>$|<frozen importlib|celery/(bin|apps|bootsteps|worker/worker|loaders)|click/"
)
"""Frames of a process that starts, in a traceback whose beginning was cut away."""
_NOT_LOADED: Final = "Unable to load celery application."
_NO_MODULE: Final = re.compile(r"The module (\S+) was not found\.")

_OF_THE_PROCESS: Final = (
    *("Fatal Python error: ", "terminate called after throwing an instance of ", "Running a worker with superuser"),
    *("Illegal instruction", "Segmentation fault", "Bus error", "Aborted", "Killed", "Floating point exception"),
    *("malloc(): ", "free(): ", "realloc(): ", "corrupted size vs", "double free or corruption"),
)
"""How a line begins that explains the end of whatever ran: CPython, glibc, libstdc++, a shell, Celery."""
_CRITICAL: Final = (
    "Retrying to establish a connection to the message broker after a connection loss has been disabled",
    "Configuration validation failed",
)
"""What Celery logs before it ends without an exception (celery.worker.consumer); a task may log anything else."""
_OF_A_START: Final = ("[FATAL tini", "[dumb-init]", "s6-", "ERROR (catatonit", "Command not found: ", "Pidfile ")
_WITHIN: Final = (
    *("error while loading shared libraries: ", "Error loading shared library ", "Error relocating "),
    *("' not found (required by ", "exec format error", "Exec format error", "Cannot allocate memory"),
    *("No space left on device", "Too many open files", "Disk quota exceeded"),
)
_SHELLS: Final = {"sh", "bash", "dash", "ash", "zsh", "ksh", "env", "exec", "chroot", "nice", "timeout"}
_WRAPPERS: Final = {"su-exec", "gosu", "runuser", "setpriv", "catatonit", "tini", "uv", "poetry"}
_PROGRAMS: Final = frozenset(_SHELLS | _WRAPPERS)
"""What only counts while no worker has begun, as tasks may say it, too: inits, the loader, shells and wrappers."""


class _Tail(NamedTuple):
    """The end of a log. `begun`: it shows a worker that has begun. `fresh`: it is all of a log that shows none."""

    lines: Sequence[str]
    fresh: bool
    begun: bool = False


def last_words(log: str, exit_code: int) -> str | None:
    """The line that says why, fit for a sentence; None where none is known to."""
    if exit_code in KILLED:
        return None
    tail = _tail(log[-LONGEST_LOG:])
    found = _celery(tail.lines) or _exception(tail) or _explanation(tail)
    if found is None and tail.fresh and tail.lines:
        found = tail.lines[-1].strip()
    return foreign(without_credentials(found), LONGEST) if found else None


def _tail(log: str) -> _Tail:
    lines = [line.rstrip() for line in _COLOURS.sub("", log).splitlines() if line.strip()]
    whole = len(log.encode(errors="replace")) < WHOLE_BYTES and len(lines) < WHOLE_LINES
    if not whole:
        lines = lines[1:]  # it may begin within a line
    begun = any(map(_BANNER.search, lines))
    return _Tail(lines, whole and not begun, begun)


def _celery(lines: Sequence[str]) -> str | None:
    """What Celery says where it cannot load the app, and click of a command line: the last paragraph of all."""
    starts = [
        at
        for at, line in enumerate(lines)
        if line == _NOT_LOADED or (line.startswith("Error: ") and at and lines[at - 1].startswith(("Try ", "Usage: ")))
    ]
    if not starts:
        return None
    said = lines[starts[-1] :]
    if said[0] == _NOT_LOADED:
        missing = _NO_MODULE.search(said[1]) if len(said) > 1 else None
        if missing and ":" not in missing[1]:  # what celery.bin.celery makes of a ModuleNotFoundError
            return f"ModuleNotFoundError: No module named '{missing[1]}'"
        return _exception(_Tail(said, fresh=True)) or (f"{_NOT_LOADED} {said[1]}" if len(said) > 1 else _NOT_LOADED)
    return " ".join(said[:2]) if said[0].endswith(":") else said[0]


def _exception(tail: _Tail) -> str | None:
    """The exception that has ended Python: the last one, unless a task has raised it or the log goes on behind it."""
    lines = tail.lines
    ends = [at for at, line in enumerate(lines) if _EXCEPTION.fullmatch(line) and _is_framed(lines[:at])]
    if not ends or any(map(_BANNER.search, lines[ends[-1] + 1 :])):
        return None
    end = ends[-1]
    head = max((at for at in range(end) if lines[at] == _HEAD), default=None)
    block = lines[(head or 0) : end]
    intro = lines[head - 1] if head else ""
    if _OF_A_TASK.search(intro) or any(map(_OF_A_TASK.search, block)):
        return None
    found = _EXCEPTION.fullmatch(lines[end])
    assert found is not None, "an end is one that matches"
    known = tail.fresh or head is not None or _OF_CODE.search(found["name"]) or any(map(_AT_START.search, block))
    return _with_fields(lines, end) if known else found["name"]


def _is_framed(before: Sequence[str]) -> bool:
    """Whether a frame with its lines of code stands directly before."""
    for line in reversed(before[-FRAME_LINES:]):
        if not line.startswith("  "):
            return False
        if line.startswith('  File "'):
            return True
    return False


def _with_fields(lines: Sequence[str], end: int) -> str:
    """An exception in one line; pydantic names the first setting that is wrong in the two lines that follow."""
    if re.search(r"\d+ validation errors? for ", lines[end]) and len(lines) > end + 2:
        what = lines[end + 2].strip().partition(" [type=")[0].partition(" (type=")[0]
        return f"{lines[end]}: {lines[end + 1].strip()}: {what}"
    return lines[end]


def _explanation(tail: _Tail) -> str | None:
    """The last line that explains itself."""
    line = next((line.strip() for line in reversed(tail.lines) if _explains(line, begun=tail.begun)), None)
    return line and next((line[line.index(words) :] for words in _CRITICAL if words in line), line)


def _explains(line: str, *, begun: bool) -> bool:
    if line.startswith(_OF_THE_PROCESS) or any(words in line for words in _CRITICAL):
        return True
    if begun:
        return False
    speaker = line.partition(" ")[0]
    name = speaker.removesuffix(":").rpartition("/")[2]
    speaks = speaker.endswith(":") and (name in _PROGRAMS or name.startswith("python") or name.endswith(".sh"))
    return speaks or line.startswith(_OF_A_START) or any(words in line for words in _WITHIN)
