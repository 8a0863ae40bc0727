"""What was applied of each pool, and what is to be done next; in virtual time, it asks and writes nothing itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Final

from celeriac.api.keys import PoolKey
from celeriac.api.reasons import Reason
from celeriac.cluster.errors import ApiError, Forbidden, NameTaken, StillGoing
from celeriac.cluster.records import REFUSAL_LENGTH, DeploymentRecord, PodRecord
from celeriac.cluster.refusals import refusal_of
from celeriac.cluster.text import bounded
from celeriac.pool.model import WorkerPool
from celeriac.reporting.view import Condition

REFUSALS: Final = {HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY}
"""Answers about the manifest itself (a 400 is a field of the wrong type): trying again at once changes nothing."""
REFUSED_RETRY_SECONDS: Final = 15.0
"""A refused Deployment is offered again after this long: a quota or a policy may have been mended meanwhile."""
STILL_GOING_SECONDS: Final = 2.0
"""A pool that was deleted and made anew waits for the garbage collector, looking this often."""
AGENT_SECONDS: Final = 5.0
"""While a Pod waits to be started, its agent's ConfigMap is looked for this often: somebody may have deleted it."""


@dataclass(frozen=True, slots=True)
class Source:
    """All that a Deployment's manifest is made from: the same source gives the same manifest.

    secret_digest  what tells that the broker's Secrets have changed; None without any
    """

    uid: str
    generation: int
    url_has_query: bool
    secret_digest: str | None = None

    @classmethod
    def of(cls, pool: WorkerPool, *, url_has_query: bool, secret_digest: str | None = None) -> "Source":
        """What a pool's manifest is made from now."""
        return cls(pool.uid, pool.generation, url_has_query, secret_digest)


class Task(Enum):
    """What is to be done of a pool's children.

    NOTHING     all is as it was applied
    HOLD        what was refused is not offered again yet
    LOOK        a Pod waits: the ConfigMap that it mounts may be gone
    APPLY       the children are not what they should be
    CREATE      there is no Deployment yet
    RECREATE    there is none any more: the pool may be gone, too
    """

    NOTHING = auto()
    HOLD = auto()
    LOOK = auto()
    APPLY = auto()
    CREATE = auto()
    RECREATE = auto()


@dataclass(frozen=True, slots=True)
class Work:
    """The task, why the children were refused (as long as that stands), and after how many seconds to look again."""

    task: Task
    refusal: Condition | None = None
    again_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class _Applied:
    """What was applied last.

    result    fingerprint of what the API server made of it: while it stands, there is nothing to write
    refusal   why it was refused instead
    retry_at  when to offer the same again after a refusal
    """

    source: Source
    result: str | None = None
    refusal: Condition | None = None
    retry_at: float = 0.0


class AppliedBook:
    """Remembers of each pool what was applied. `now` is in monotonic seconds."""

    def __init__(self) -> None:
        self._applied: dict[PoolKey, _Applied] = {}
        self._look_at: dict[PoolKey, float] = {}

    def forget(self, key: PoolKey) -> None:
        """Forget a pool that is gone."""
        self._applied.pop(key, None)
        self._look_at.pop(key, None)

    def work(
        self, pool: WorkerPool, source: Source, live: DeploymentRecord | None, pods: Sequence[PodRecord], now: float
    ) -> Work:
        """What is to be done; `live` is the pool's own Deployment, as it is now."""
        applied = self._applied.get(pool.key)
        if applied is not None and applied.source == source:
            if live is not None and applied.result == live.fingerprint:
                return self._agent_of(pool, pods, now)
            if applied.refusal is not None and now < applied.retry_at:
                return Work(Task.HOLD, applied.refusal, applied.retry_at - now)
        if live is not None:
            return Work(Task.APPLY)
        made_before = applied is not None and applied.result is not None and applied.source.uid == pool.uid
        return Work(Task.RECREATE if made_before else Task.CREATE)

    def applied(self, key: PoolKey, source: Source, fingerprint: str) -> None:
        """Take over what the API server made of the manifest."""
        self._applied[key] = _Applied(source, result=fingerprint)

    def failed(self, key: PoolKey, source: Source, error: ApiError, now: float) -> Work:
        """Take over why it was not applied; what follows. Raises the error where another attempt may succeed soon."""
        if isinstance(error, StillGoing):
            return Work(Task.NOTHING, again_seconds=STILL_GOING_SECONDS)
        if not isinstance(error, NameTaken) and error.status not in REFUSALS:
            raise error
        refusal = _refusal(error)
        self._applied[key] = _Applied(source, refusal=refusal, retry_at=now + REFUSED_RETRY_SECONDS)
        return Work(Task.HOLD, refusal, REFUSED_RETRY_SECONDS)

    def _agent_of(self, pool: WorkerPool, pods: Sequence[PodRecord], now: float) -> Work:
        """A Pod without the ConfigMap that it mounts would wait for ever."""
        waiting = any(pod.phase == "Pending" and not pod.terminating for pod in pods)
        if not pool.agent or not waiting:
            return Work(Task.NOTHING)
        look_at = self._look_at.get(pool.key, 0.0)
        if now < look_at:
            return Work(Task.NOTHING, again_seconds=look_at - now)
        self._look_at[pool.key] = now + AGENT_SECONDS
        return Work(Task.LOOK, again_seconds=AGENT_SECONDS)


def _refusal(error: ApiError) -> Condition:
    """Why the children were refused, with the cure."""
    if isinstance(error, NameTaken):
        return Condition.of("Ready", False, Reason.NAME_TAKEN, error.message)
    cure = refusal_of(error.message)[1]
    otherwise = "mend what forbids it" if isinstance(error, Forbidden) else "correct spec.template"
    message = f"the API server refused the Deployment: {bounded(error.message, REFUSAL_LENGTH)}; {cure or otherwise}"
    return Condition.of("Ready", False, Reason.APPLY_FAILED, message)


def server_error(error: ApiError) -> Condition:
    """Why the children could not be applied, where the API server answers and fails: it is tried again."""
    message = (
        f"the API server failed to take the Deployment: {bounded(error.message, REFUSAL_LENGTH)}; mend the admission"
        " webhook that it names, or look at the API server; it is tried again"
    )
    return Condition.of("Ready", False, Reason.API_SERVER_ERROR, message)
