"""The lines of a ledger: what sender, tasks and a watch on the cluster have seen, one JSON object each."""

import dataclasses
import json
from dataclasses import dataclass
from enum import StrEnum


class Event(StrEnum):
    """What a line tells, and who wrote it."""

    SENT = "sent"  # the sender, before it publishes
    RECEIVED = "received"  # the worker's application, when the worker has taken the message
    STARTED = "started"  # the task's body, as its first act
    ENDED = "ended"  # the task's body, as its last act
    SCALED = "scaled"  # the watch: spec.replicas of the Deployment has changed
    MARKED = "marked"  # the watch: the Pod carries the annotation of a drain
    UNMARKED = "unmarked"  # the watch: it carries it no more
    DELETED = "deleted"  # the watch: somebody wants the Pod to go
    DIED = "died"  # the watch: its worker's container has ended, and nobody wanted it to
    GONE = "gone"  # the watch: all its containers have ended
    LEFT = "left"  # the driver: a key that remains in Redis when all is over


@dataclass(frozen=True, slots=True)
class Line:
    """One event at a moment in Unix seconds, with what belongs to it: a task, a pod, replicas, or a key of Redis."""

    event: Event
    time: float
    task: str = ""
    pod: str = ""
    pid: int = 0
    before: int = 0
    after: int = 0
    key: str = ""

    @classmethod
    def parse(cls, text: str) -> "Line":
        """From JSON; raises ValueError, KeyError or TypeError for anything that is no line of a ledger."""
        fields = json.loads(text)
        return cls(**{**fields, "event": Event(fields["event"])})

    def __str__(self) -> str:
        """As JSON, without the fields that this event does not have."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        fields = dataclasses.asdict(self).items()
        return json.dumps({name: value for name, value in fields if value != defaults[name]})
