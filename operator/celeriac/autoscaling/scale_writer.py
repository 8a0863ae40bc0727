"""Who writes replicas: each change that the tick has planned goes through /scale, and only if nothing has changed.

That is one request: a patch on condition of the resourceVersion that the watch has brought. The watch may be behind;
the API server says so by a Conflict, and only then is it asked what there is.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
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
    reason      that of the decision
    """

    before: int
    after: int
    message: str
    in_rollout: bool = False
    reason: str = ""

    @property
    def pods(self) -> int:
        """Positive up, negative down."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a change.

    performed  whether it was made
    replicas   as they are now, None where that is not known
    version    the resourceVersion of the Deployment that has so many
    refusal    why the API server refused it; None where the next tick simply decides again
    """

    performed: bool = False
    replicas: int | None = None
    version: str = ""
    refusal: ApiError | None = None


Watched = Callable[[PoolKey], DeploymentRecord | None]
"""A pool's Deployment as the watch last told; None where there is none."""


class ScaleWriter:
    """Makes changes through /scale while it has the authority."""

    def __init__(self, scaler: Scaler, authority: Authority, watched: Watched) -> None:
        self._scaler = scaler
        self._authority = authority
        self._watched = watched

    async def write(self, key: PoolKey, change: Change) -> Written:
        """Make the change; where the replicas are not what the plan assumed, nothing."""
        try:
            with suppress(Conflict):
                watched = self._watched(key)
                if watched is not None and watched.resource_version:
                    return await self._write_at(key, change, watched)
            return await self._read_and_write(key, change)
        except (Conflict, NotHolder):
            return Written()
        except ApiError as error:
            return Written(refusal=error)

    async def _write_at(self, key: PoolKey, change: Change, deployment: DeploymentRecord) -> Written:
        """Write to this very version: a Conflict where anything has changed since, such as a rollout that has begun."""
        if not _is_settled(deployment, change):
            return Written()
        return await self._patch(key, change, Scale(deployment.spec_replicas, deployment.resource_version))

    async def _read_and_write(self, key: PoolKey, change: Change) -> Written:
        if change.pods > 0:
            return await self._patch(key, change, await self._scaler.read_scale(key))
        found = DeploymentRecord.from_body(await self._scaler.read_deployment(key))
        return await self._write_at(key, change, found)

    async def _patch(self, key: PoolKey, change: Change, scale: Scale) -> Written:
        if scale.replicas != change.before:
            return Written(replicas=scale.replicas, version=scale.resource_version)
        if not self._authority.may_act:
            return Written()
        made = await self._scaler.patch_scale(key, change.after, resource_version=scale.resource_version)
        return Written(performed=True, replicas=change.after, version=made.resource_version)


def _is_settled(deployment: DeploymentRecord, change: Change) -> bool:
    """Whether nothing speaks against the change: up always; down, where no rollout has begun since the plan."""
    unseen = deployment.observed_generation < deployment.generation
    return change.pods > 0 or not (unseen or (deployment.rollout_in_progress and not change.in_rollout))


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
