"""What is said of an attempt that fails again and again, and how long to wait before the next; no I/O, no clock."""

import logging
from typing import Final

from celeriac.cluster.errors import ApiError

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS: Final = 2.0
LAST_PAUSE_SECONDS: Final = 60.0
ANSWER_PAUSE_SECONDS: Final = 5.0
"""The longest pause after an answer of the API server: it may be mended at any moment, and everything waits for it."""
AGAIN_SECONDS: Final = 600.0
"""The same fault is told again after so long: it is still there."""


class Setbacks:
    """The failures in a row of one thing. An ApiError is the API server's answer; all else is a fault of the operator.

    A fault is told with its traceback, and once until it changes or AGAIN_SECONDS have passed: the same text every two
    seconds would push everything else out of the log.
    """

    def __init__(self, what: str) -> None:
        """`what` could not be done, in words that begin a sentence."""
        self._what = what
        self._pause = FIRST_PAUSE_SECONDS
        self._told: tuple[str, float] | None = None

    def note(self, error: Exception, now: float) -> float:
        """Take over a failure at `now` (monotonic seconds); returns the seconds to wait before the next attempt."""
        words = f"{type(error).__name__}: {error}"
        if self._told is None or self._told[0] != words or now - self._told[1] >= AGAIN_SECONDS:
            self._told = (words, now)
            if isinstance(error, ApiError):
                log.warning("%s: %s; it is tried again", self._what, error)
            else:
                log.error("%s, by a fault of the operator; it is tried again", self._what, exc_info=error)
        longest = ANSWER_PAUSE_SECONDS if isinstance(error, ApiError) else LAST_PAUSE_SECONDS
        pause, self._pause = min(self._pause, longest), min(2 * self._pause, longest)
        return pause

    def over(self) -> None:
        """It has been done: the next failure is news."""
        self._pause, self._told = FIRST_PAUSE_SECONDS, None
