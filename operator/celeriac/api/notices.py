"""What is to be told about a pool, as a value: rooms return it, one teller makes an event of it."""

from dataclasses import dataclass
from typing import Literal, Protocol

from celeriac.api.keys import PoolKey
from celeriac.api.reasons import Reason

EventType = Literal["Normal", "Warning"]


@dataclass(frozen=True, slots=True)
class Notice:
    """An event about a pool. It is dropped where the pool is gone.

    type    Warning where somebody should look
    series  tells one such event from another: those of one series are counted in one object
    action  what was tried, in CamelCase
    """

    pool: PoolKey
    type: EventType
    reason: Reason
    message: str
    series: str
    action: str = "Restore"


class Teller(Protocol):
    """Makes events of notices (`celeriac.reporting.teller`)."""

    def tell(self, notice: Notice) -> None:
        """Tell it. Returns at once, and never raises."""
