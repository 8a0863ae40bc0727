"""The book of one scene: all lines as they come, in memory and in a file that anybody can judge again later."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.ledger.lines import Event, Line


class Book:
    """Lines from several threads; `file` has them all. A line that comes twice is kept once."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lines: dict[Line, None] = {}
        self._changed = threading.Condition()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")

    def add(self, line: Line) -> None:
        """Enter a line."""
        with self._changed:
            if line not in self._lines:
                self._lines[line] = None
                with self.file.open("a") as file:
                    file.write(f"{line}\n")
                self._changed.notify_all()

    def note(self, event: Event, **fields: Any) -> None:
        """Enter what has been seen just now."""
        self.add(Line(event, time.time(), **fields))

    def lines(self) -> Sequence[Line]:
        """All that has come so far."""
        with self._changed:
            return list(self._lines)

    def count(self, event: Event) -> int:
        """Different tasks of which there is such a line, or pods, or times."""
        return len({line.task or line.pod or line.time for line in self.lines() if line.event is event})

    def wait(self, holds: Callable[[Sequence[Line]], bool], seconds: float) -> bool:
        """Until the lines hold; False when they do not within so many seconds."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not holds(list(self._lines)):
                if not self._changed.wait(deadline - time.monotonic()):
                    return holds(list(self._lines))
        return True


def read(file: Path) -> list[Line]:
    """The lines of a book's file."""
    return [Line.parse(text) for text in file.read_text().splitlines()]
