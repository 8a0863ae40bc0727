"""A stream of messages at a steady rate from a thread of its own."""

from __future__ import annotations

import itertools
import threading
import time
from types import TracebackType
from typing import Self

from tests.agent.rig import Rig

PAUSE_SECONDS = 0.05


class Flow:
    """Sends `rate` tasks a second for as long as the `with` block lasts; the ids are `flow-00000` and on."""

    def __init__(self, rig: Rig, rate: float, seconds: tuple[float, ...] = (0.0, 0.01, 0.05, 0.3)) -> None:
        """`seconds` are the durations of the tasks, one after the other."""
        self._rig, self._rate = rig, rate
        self._seconds = itertools.cycle(seconds)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        with self._rig.producer() as producer:
            while not self._done.wait(PAUSE_SECONDS):
                while self.sent < (time.monotonic() - began) * self._rate:
                    self._rig.send(f"flow-{self.sent:05}", args=[next(self._seconds)], producer=producer)
                    self.sent += 1
