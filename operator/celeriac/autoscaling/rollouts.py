"""What has to be known and done of rollouts beside the replicas: ReplicaSets read, and made smaller for new pods."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

from celeriac.api.authority import Authority
from celeriac.api.keys import PoolKey
from celeriac.cluster.errors import ApiError, Conflict, NotFound, NotHolder
from celeriac.cluster.records import DeploymentRecord, PodRecord
from celeriac.cluster.replica_sets import (
    ReplicaSetApi,
    ReplicaSetRecord,
    list_replica_sets,
    read_replica_set,
    scale_replica_set,
)
from celeriac.scaling.decision import Retirement

log = logging.getLogger(__name__)

READ_SECONDS = 2.0
"""The ReplicaSets of a rollout are read this often, at most."""
LISTS = 4
"""Lists of ReplicaSets at a time, at most."""
FAILED_SECONDS = 15.0
"""After a failure: a permission that is missing is seldom given a moment later."""

ReplicaSets = Mapping[str, ReplicaSetRecord]


def is_rolling(deployment: DeploymentRecord, pods: Sequence[PodRecord]) -> bool:
    """Whether pods of more than one ReplicaSet are, or soon may be, beside each other."""
    return deployment.rollout_in_progress or len({pod.replica_set for pod in pods if pod.is_counted}) > 1


@dataclass(slots=True)
class _Read:
    """What was last read of one Deployment, and when to read again (monotonic seconds)."""

    deployment: str
    sets: ReplicaSets | None = None
    again_at: float = 0.0


class RolloutReader:
    """Knows the ReplicaSets of Deployments in a rollout. Asking for them never waits: they are read meanwhile."""

    def __init__(self, api: ReplicaSetApi, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._clock = clock
        self._read: dict[PoolKey, _Read] = {}
        self._reading: dict[PoolKey, asyncio.Task[None]] = {}
        self._lists = asyncio.Semaphore(LISTS)

    def of(self, deployment: DeploymentRecord, pods: Sequence[PodRecord], *, shrinks: bool) -> ReplicaSets | None:
        """The ReplicaSets of a rollout, by uid; None where there is no rollout, or they are not read yet.

        They are read only where something is to be done: `shrinks` tells that fewer replicas are wanted. Most rollouts
        go on by themselves.
        """
        key = deployment.key
        if not is_rolling(deployment, pods):
            self._read.pop(key, None)
            return None
        read = self._read.get(key)
        if read is None or read.deployment != deployment.uid:
            read = self._read[key] = _Read(deployment.uid)
        helps = shrinks or deployment.full_quota or any(pod.unplaced for pod in pods)
        if helps and key not in self._reading and self._clock() >= read.again_at:
            self._reading[key] = asyncio.get_running_loop().create_task(self._update(key, read))
        return read.sets

    def retain(self, keys: Set[PoolKey]) -> None:
        """Forget all pools but these."""
        self._read = {key: read for key, read in self._read.items() if key in keys}

    async def settle(self) -> None:
        """Wait for what is being read."""
        await asyncio.gather(*self._reading.values(), return_exceptions=True)

    async def _update(self, key: PoolKey, read: _Read) -> None:
        pause = READ_SECONDS
        try:
            async with self._lists:
                read.sets = await list_replica_sets(self._api, key, read.deployment)
        except ApiError as error:
            read.sets, pause = None, FAILED_SECONDS
            log.warning("pool %s: its rollout cannot be helped on, its ReplicaSets cannot be read: %s", key, error)
        except Exception:
            read.sets, pause = None, FAILED_SECONDS
            log.exception("pool %s: its rollout cannot be helped on, by a fault of the operator", key)
        finally:
            read.again_at = self._clock() + pause
            del self._reading[key]


async def retire(api: ReplicaSetApi, authority: Authority, key: PoolKey, name: str, planned: Retirement) -> bool:
    """Make an old ReplicaSet smaller; whether it was done. Nothing where it is not what the plan assumed.

    Raises ApiError.
    """
    try:
        record = await read_replica_set(api, key.namespace, name)
        if record.uid != planned.replica_set or not record.settled:
            return False
        assumed = (record.replicas, record.existing) == (planned.before, planned.existing)
        if not assumed or not authority.may_act:
            return False
        await scale_replica_set(api, key.namespace, record, planned.after)
    except (Conflict, NotFound, NotHolder):
        return False
    return True
