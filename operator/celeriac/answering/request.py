"""A CeleryPoolRequest, reduced to what is needed to answer it."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from celeriac.api.keys import PoolKey
from celeriac.cluster.body import Body

SHOWN: Final = 100


class Action(StrEnum):
    """What may be asked for."""

    TOP = "Top"
    QUEUES = "Queues"
    EXPLAIN = "Explain"
    HEALTH = "Health"
    DEAD_LETTERS = "DeadLetters"
    REQUEUE = "RequeueDeadLetters"
    DROP = "DropDeadLetters"


@dataclass(frozen=True, slots=True)
class Request:
    """One request as last seen.

    key       its own namespace and name
    pool      the name of the pool that it is about; empty: all of the namespace
    to        a queue of the pool to which dead letters go that are put back; empty: their own
    answered  the round that its status answers; None: none yet
    """

    key: PoolKey
    uid: str
    action: Action
    pool: str = ""
    queue: str = ""
    to: str = ""
    ids: frozenset[str] = frozenset()
    limit: int = SHOWN
    round: int = 0
    answered: int | None = None
    is_one_too_many: bool = False

    @property
    def is_answered(self) -> bool:
        """Whether nothing is left to be said."""
        return self.answered == self.round

    def as_one_too_many(self) -> "Request":
        """One that is refused, whatever it asks for."""
        return replace(self, queue="", to="", ids=frozenset(), is_one_too_many=True)

    @classmethod
    def from_body(cls, body: Body) -> "Request":
        """Read one that the schema has admitted. Raises ValueError for an action of another release."""
        metadata, spec, status = body["metadata"], body["spec"], body.get("status") or {}
        return cls(
            key=PoolKey(metadata["namespace"], metadata["name"]),
            uid=metadata["uid"],
            action=Action(spec["action"]),
            pool=spec.get("pool", ""),
            queue=spec.get("queue", ""),
            to=spec.get("to", ""),
            ids=frozenset(spec.get("ids", ())),
            limit=spec.get("limit", SHOWN),
            round=spec.get("round", 0),
            answered=status.get("round"),
        )
