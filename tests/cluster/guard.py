"""Runs one command that must not outlive the process that asked for it.

``python guard.py [--then JSON] -- COMMAND...``; the asking process holds the other end of standard input. When that
end closes (the asker ended, however it ended: SIGKILL too) the command is killed and another one, given as a JSON list
of words, cleans up. SIGTERM kills the command alone. Should this guard itself be killed, Linux kills the command
(PR_SET_PDEATHSIG).

A pipe and not PR_SET_PDEATHSIG alone, because that follows the *thread* that started the process, and tests start
some from threads that end. Only the standard library: it starts once for each program, so it must start fast.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent() -> None:
    """Runs in the child between fork and exec."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def kill_after_asker(command: "subprocess.Popen[bytes]", orphaned: threading.Event) -> None:
    """Waits until the asking process is gone."""
    while os.read(0, 4096):
        pass
    orphaned.set()
    command.kill()


def main(arguments: list[str]) -> int:
    """Returns the command's own exit code (128 + signal when a signal ended it)."""
    split = arguments.index("--")
    clean_up = json.loads(arguments[1]) if arguments[:1] == ["--then"] else None
    command = subprocess.Popen(
        arguments[split + 1 :],
        stdin=subprocess.DEVNULL,
        preexec_fn=die_with_parent,
    )
    signal.signal(signal.SIGTERM, lambda *_: command.kill())
    orphaned = threading.Event()
    threading.Thread(target=kill_after_asker, args=(command, orphaned), daemon=True).start()
    code = command.wait()
    if orphaned.is_set() and clean_up:
        subprocess.run(clean_up, stdin=subprocess.DEVNULL, check=False)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
