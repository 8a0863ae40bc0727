"""Whether this process may act at this moment, as one object instead of callables that are handed around."""

from collections.abc import Callable


class Authority:
    """What the Lease and the lists of the cluster allow. Ask right before each write: it is lost at any moment.

    `holds_lease` tells whether this process holds the Lease; `has_listed` whether all Pods were listed.
    """

    def __init__(self, holds_lease: Callable[[], bool], has_listed: Callable[[], bool]) -> None:
        self._holds_lease = holds_lease
        self._has_listed = has_listed

    @property
    def may_act(self) -> bool:
        """Whether this process may write to the cluster and to brokers."""
        return self._holds_lease()

    @property
    def may_judge_pods(self) -> bool:
        """Whether it may also draw conclusions from a Pod's absence: one that was not listed yet looks gone."""
        return self._holds_lease() and self._has_listed()
