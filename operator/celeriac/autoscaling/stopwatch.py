"""How long work holds the event loop; what it waits for does not count."""

import time
import types
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class Stopwatch:
    """Adds up seconds of several pieces of work."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._seconds = 0.0

    def take(self) -> float:
        """The seconds since this was asked last."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    @contextmanager
    def running(self) -> Generator[None]:
        """Measure what happens inside, which awaits nothing."""
        began = self._clock()
        try:
            yield
        finally:
            self._seconds += self._clock() - began

    @types.coroutine
    def measured(self, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        """Await `work` and measure it, from each time that it goes on until it waits again."""
        value: Any = None
        error: BaseException | None = None
        while True:
            try:
                with self.running():
                    awaited = work.send(value) if error is None else work.throw(error)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]  # StopIteration is not generic
            try:
                value, error = (yield awaited), None
            except BaseException as raised:
                value, error = None, raised
