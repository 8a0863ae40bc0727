"""What a demo task does with its time."""

import time
from collections.abc import Callable


def work(seconds: float, cpu_share: float, step: Callable[[], object]) -> int:
    """Call `step` again and again for `seconds` of wall time and return how often.

    `cpu_share` (0 to 1) is the part of the time spent in `step`; the rest is slept, so that many pods can be shown on a
    small machine. `step` runs once at least.
    """
    end = time.monotonic() + seconds
    steps = 0
    while True:
        began = time.monotonic()
        step()
        steps += 1
        now = time.monotonic()
        pause = (now - began) * (1 / cpu_share - 1) if cpu_share > 0 else end - now
        time.sleep(max(0.0, min(pause, end - now)))
        if time.monotonic() >= end:
            return steps
