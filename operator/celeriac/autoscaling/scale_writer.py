"""Who writes replicas: each change that the tick has planned goes through /scale, and only if nothing has changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from celeriac.api.authority import Authority
from celeriac.api.keys import PoolKey
from celeriac.cluster.client import Scale
from celeriac.cluster.errors import ApiError, Conflict, NotHolder, Unavailable
from celeriac.cluster.records import DeploymentRecord

BACKOFF_FIRST_SECONDS = 1.0
BACKOFF_LAST_SECONDS = 60.0
BACKOFF_LAST_UNAVAILABLE_SECONDS = 5.0
"""While the API server, or a webhook of its, fails: that is over at any moment, and is no matter of this pool."""


class Scaler(Protocol):
    """Reads and writes the scale of a Deployment (`celeriac.cluster.client.Api`)."""

    async def read_scale(self, key: PoolKey) -> Scale:
        """Raises ApiError."""

    async def read_deployment(self, key: PoolKey) -> Mapping[str, Any]:
        """Raises ApiError."""

    async def patch_scale(self, key: PoolKey, replicas: int, *, resource_version: str) -> Scale:
        """Raises Conflict where the Deployment has changed since, or another ApiError."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the replicas that was planned when they were `before`.

    in_rollout  planned with old and new pods beside each other: nothing goes down otherwise once a rollout has begun
    """

    before: int
    after: int
    message: str
    in_rollout: bool = False

    @property
    def pods(self) -> int:
        """Positive up, negative down."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a change.

    performed  whether it was made
    replicas   as they are now, None where that is not known
    refusal    why the API server refused it; None where the next tick simply decides again
    """

    performed: bool = False
    replicas: int | None = None
    refusal: ApiError | None = None


class ScaleWriter:
    """Makes changes through /scale while it has the authority."""

    def __init__(self, scaler: Scaler, authority: Authority) -> None:
        self._scaler = scaler
        self._authority = authority

    async def write(self, key: PoolKey, change: Change) -> Written:
        """Make the change; where the replicas are not what the plan assumed, nothing."""
        try:
            return await self._write(key, change)
        except (Conflict, NotHolder):
            return Written()
        except ApiError as error:
            return Written(refusal=error)

    async def _write(self, key: PoolKey, change: Change) -> Written:
        scale = await (self._read_settled(key, change) if change.pods < 0 else self._scaler.read_scale(key))
        if scale is None:
            return Written()
        if scale.replicas != change.before:
            return Written(replicas=scale.replicas)
        if not self._authority.may_act:
            return Written()
        await self._scaler.patch_scale(key, change.after, resource_version=scale.resource_version)
        return Written(performed=True, replicas=change.after)

    async def _read_settled(self, key: PoolKey, change: Change) -> Scale | None:
        """The scale, with the assurance that no rollout has begun since the plan; None where one has."""
        body = await self._scaler.read_deployment(key)
        deployment = DeploymentRecord.from_body(body)
        unseen = deployment.observed_generation < deployment.generation
        if unseen or (deployment.rollout_in_progress and not change.in_rollout):
            return None
        return Scale(deployment.spec_replicas, body["metadata"]["resourceVersion"])


@dataclass(slots=True)
class _Refusal:
    """Why the last write failed, and when the next may be tried (monotonic seconds)."""

    message: str
    pause: float
    retry_at: float


class Refusals:
    """Why pools cannot be scaled, and when each is worth the next try. `now` is in monotonic seconds.

    A Pod that may not be marked cannot drain, and the replicas cannot be lowered.
    """

    def __init__(self) -> None:
        self._of: dict[PoolKey, _Refusal] = {}
        self._of_marks: dict[PoolKey, str] = {}

    def message(self, key: PoolKey) -> str | None:
        """Why the pool's replicas could not be written, as long as they cannot."""
        refusal, of_marks = self._of.get(key), self._of_marks.get(key)
        if refusal is None and of_marks is not None:
            return f"no worker can be marked to drain: {of_marks}"
        return refusal.message if refusal else None

    def note_mark(self, key: PoolKey, error: ApiError) -> bool:
        """Take over the refusal of a mark; tells whether its message is news."""
        news = self._of_marks.get(key) != str(error)
        self._of_marks[key] = str(error)
        return news

    def forget_mark(self, key: PoolKey) -> bool:
        """Pods were marked, or need not be any more; tells whether there was a refusal."""
        return self._of_marks.pop(key, None) is not None

    def pauses(self, key: PoolKey, now: float) -> bool:
        """Whether it is too early for the next try."""
        refusal = self._of.get(key)
        return refusal is not None and now < refusal.retry_at

    def note(self, key: PoolKey, error: ApiError, now: float) -> bool:
        """Take over a refusal; the pause doubles. Tells whether its message is news."""
        last, message = self._of.get(key), str(error)
        longest = BACKOFF_LAST_UNAVAILABLE_SECONDS if isinstance(error, Unavailable) else BACKOFF_LAST_SECONDS
        pause = min(last.pause * 2, longest) if last else BACKOFF_FIRST_SECONDS
        self._of[key] = _Refusal(message, pause, now + pause)
        return last is None or last.message != message

    def forget(self, key: PoolKey) -> bool:
        """The pool was scaled, or need not be any more; tells whether there was a refusal."""
        return self._of.pop(key, None) is not None
