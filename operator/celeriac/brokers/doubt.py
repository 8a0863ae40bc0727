"""Why a broker is not believed."""

from celeriac.api.reasons import Reason


class BrokerDoubt(Exception):
    """The broker's answer cannot be trusted, or did not come.

    `reason` is a `Reason`; the message names the cure and never holds a credential.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
