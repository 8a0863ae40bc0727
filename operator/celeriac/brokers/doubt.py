"""Why a broker is not believed."""

from typing import TypeVar

from celeriac.api.reasons import Reason

E = TypeVar("E", bound=BaseException)


class BrokerDoubt(Exception):
    """The broker's answer cannot be trusted, or did not come.

    `reason` is a `Reason`; the message names the cure and never holds a credential.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    @property
    def told(self) -> str:
        """Reason and sentence in one."""
        return f"{self.reason}: {self}"


def without_trace(error: E) -> E:
    """The error without what it came from: a trace holds all that was read so far, as long as somebody keeps it.

    To be raised where no other error is handled.
    """
    error.__context__ = error.__cause__ = None
    return error.with_traceback(None)
