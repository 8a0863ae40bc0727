"""How long a broker that failed is left alone."""

from collections.abc import Callable
from typing import Final

from celeriac.api.reasons import Reason
from celeriac.brokers.doubt import BrokerDoubt

FIRST_RETRY_SECONDS: Final = 0.5
LONGEST_RETRY_SECONDS: Final = 5.0
LONGEST_RETRY_OF_A_STRANGER: Final = 60.0
STRANGE: Final = (Reason.BROKER_UNSUPPORTED, Reason.ANSWER_TOO_LARGE)
"""Doubts about what answers: not an outage that ends by itself."""


class Patience:
    """Pauses that double with each failure. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._doubt: BrokerDoubt | None = None
        self._until = float("-inf")
        self._pause = FIRST_RETRY_SECONDS

    def check(self) -> None:
        """Raise the doubt of the last failure while the pause lasts."""
        if self._doubt is not None and self._clock() < self._until:
            raise BrokerDoubt(self._doubt.reason, str(self._doubt))

    def failed(self, doubt: BrokerDoubt) -> None:
        """A reading has failed."""
        self._doubt = BrokerDoubt(doubt.reason, str(doubt))
        self._until = self._clock() + self._pause
        longest = LONGEST_RETRY_OF_A_STRANGER if doubt.reason in STRANGE else LONGEST_RETRY_SECONDS
        self._pause = min(2 * self._pause, longest)

    def succeeded(self) -> None:
        """A reading was a good one."""
        self._doubt, self._pause = None, FIRST_RETRY_SECONDS
