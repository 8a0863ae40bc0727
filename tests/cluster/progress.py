"""Visible progress on standard error: one line for each finished step with its seconds, a sign of life in between."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

HEARTBEAT_SECONDS = 15.0  # between signs of life where no terminal shows a spinner

console = Console(stderr=True, highlight=False, soft_wrap=True)


class Step:
    """A step under way; ``detail`` is shown beside its title (how many packages, which file)."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.detail = ""
        self.started = time.monotonic()

    def say(self, detail: str) -> None:
        """Changes what is shown beside the title."""
        self.detail = detail

    def __str__(self) -> str:
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.title}{detail}  {time.monotonic() - self.started:.1f} s"


@contextmanager
def step(title: str) -> Iterator[Step]:
    """Shows a step while it runs and leaves one line when it is done or has failed."""
    current = Step(title)
    done = threading.Event()
    shown = threading.Thread(target=_show, args=(current, done), daemon=True)
    shown.start()
    outcome = "[red]✗[/]"
    try:
        yield current
        outcome = "[green]✓[/]"
    finally:
        done.set()
        shown.join()
        console.print(f"  {outcome} {current}")


def _show(current: Step, done: threading.Event) -> None:
    if not console.is_terminal:
        while not done.wait(HEARTBEAT_SECONDS):
            console.print(f"  … {current}")
        return
    try:
        with console.status(str(current)) as status:
            while not done.wait(0.2):
                status.update(str(current))
    except Exception:  # rich allows one live display: a step inside another one stays without a spinner
        done.wait()
