"""What workers that may be gone still hold: written by recovery, read by the tick."""

from collections.abc import Set
from dataclasses import dataclass

from celeriac.brokers.address import BrokerAddress


@dataclass(slots=True)
class Custody:
    """One instance is shared. Its fields are replaced as wholes, never changed.

    unresolved  uids of pools with a worker that may be gone, whose messages are not back: nobody can say that such a
                pool holds nothing
    needed      addresses of brokers that are still needed, those of deleted pools included
    """

    unresolved: Set[str] = frozenset()
    needed: Set[BrokerAddress] = frozenset()
