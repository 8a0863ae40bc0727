"""Puts back what workers held that are certainly gone, at once instead of after a visibility timeout.

The registry in Redis names every worker process with the keys of its in-flight messages, whether or not its pool still
exists. What may be believed of a process's death is in `judge`. Restoring is idempotent and safe to race: with the
worker's own successor in the same Pod, and with another operator.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from celeriac import reasons
from celeriac.broker_access import BrokerAccess
from celeriac.brokers.types import Broker, BrokerAddress, BrokerDoubt, Process, Restored
from celeriac.cluster.client import Api
from celeriac.cluster.errors import ApiError, NotFound
from celeriac.cluster.paths import PODS
from celeriac.cluster.records import PodRecord
from celeriac.deaths import SILENT_SECONDS, Verdict, judge
from celeriac.metrics import Metrics
from celeriac.pool.model import PoolKey, WorkerPool
from celeriac.report import Tell
from celeriac.store import Store

log = logging.getLogger(__name__)

SCAN_SECONDS = 5.0
"""Between two looks into a registry while nothing calls for one."""
HURRY_SECONDS = 1.0
"""Between two looks while a worker is known to have ended and is still registered."""
TAKE_OVER_SECONDS = 30.0
PLAIN_VISIBILITY_TIMEOUT = 3600.0
"""kombu's default in seconds, for a pool of which no worker has said another."""


@dataclass(slots=True)
class _Pool:
    """A pool whose workers are registered; it is remembered after its deletion until nothing of it is left."""

    pool: WorkerPool
    take_over_at: float
    visibility_timeout: float = PLAIN_VISIBILITY_TIMEOUT


@dataclass(slots=True)
class _Place:
    """One broker: its pools by uid, and when to look again (monotonic seconds)."""

    pools: dict[str, _Pool] = field(default_factory=dict)
    scan_at: float = 0.0
    ended: frozenset[tuple[str, float | None]] = frozenset()


@dataclass(slots=True)
class _Silence:
    """The counter of a process's last report, and since when it has not changed."""

    counter: int | None
    since: float


class Reaper:
    """Restores in the background while `may_act` holds."""

    def __init__(
        self,
        *,
        api: Api,
        store: Store,
        access: BrokerAccess,
        metrics: Metrics,
        may_act: Callable[[], bool],
        serves: Callable[[str], bool],
        tell: Tell,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`serves` says whether the Pods of a namespace are known to this operator."""
        self._api = api
        self._store = store
        self._access = access
        self._metrics = metrics
        self._may_act = may_act
        self._serves = serves
        self._tell = tell
        self._clock = clock
        self._places: dict[BrokerAddress, _Place] = {}
        self._homes: dict[str, BrokerAddress] = {}
        self._silences: dict[str, _Silence] = {}
        self._scanning: dict[BrokerAddress, asyncio.Task[None]] = {}

    @property
    def addresses(self) -> set[BrokerAddress]:
        """Brokers that are still needed, those of deleted pools included."""
        return set(self._places)

    async def run(self, seconds: float) -> None:
        """Look for ended workers for ever, every `seconds`; each broker is served by a task of its own."""
        while True:
            if self._may_act():
                self._follow_pools()
                for address, place in list(self._places.items()):
                    if address not in self._scanning and self._is_due(place):
                        self._scanning[address] = asyncio.create_task(self._scan(address, place))
            else:
                self._places.clear()
                self._silences.clear()
            await asyncio.sleep(seconds)

    async def settle(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._scanning.values(), return_exceptions=True)

    def _follow_pools(self) -> None:
        """Note where each pool's broker is now; where it was before is left once nothing of it is registered there."""
        self._homes = {}
        for known in self._store.pools.values():
            if not isinstance(known.spec, WorkerPool):
                continue
            address = self._access.lookup(known.spec)
            if isinstance(address, BrokerAddress):
                self._homes[known.uid] = address
                pools = self._places.setdefault(address, _Place()).pools
                if known.uid in pools:
                    pools[known.uid].pool = known.spec
                else:
                    pools[known.uid] = _Pool(known.spec, self._clock())

    def _is_due(self, place: _Place) -> bool:
        """Look at once where a worker has just ended, else now and then."""
        ended = frozenset(self._ended(place))
        if not ended <= place.ended:
            place.scan_at = 0.0
        place.ended = ended
        return self._clock() >= place.scan_at

    def _ended(self, place: _Place) -> Iterable[tuple[str, float | None]]:
        for each in place.pools.values():
            for pod in self._store.pods(each.pool.key):
                if pod.finished_at is not None:
                    yield pod.uid, pod.finished_at
            for uid in self._store.ended(each.pool.key):
                yield uid, None

    async def _scan(self, address: BrokerAddress, place: _Place) -> None:
        pause = SCAN_SECONDS
        try:
            broker = self._access.broker(address)
            if await self._reap(broker, address, place):
                pause = HURRY_SECONDS
            await self._take_over(broker, place)
        except (BrokerDoubt, ApiError) as error:
            log.debug("what ended workers held could not be looked for: %s", error)
        except Exception:
            log.exception("what ended workers held could not be looked for, by a fault of the operator")
        finally:
            place.scan_at = self._clock() + pause
            self._scanning.pop(address, None)

    async def _reap(self, broker: Broker, address: BrokerAddress, place: _Place) -> bool:
        """Restore what gone processes held; True while some may soon be found gone."""
        prefixes = {each.pool.broker.layout.key_prefix for each in place.pools.values()}
        processes = await broker.processes(prefixes)
        names = {process.process for process in processes}
        undecided = False
        for process in processes:
            self._note_visibility_timeout(place, process)
            verdict = await self._judge(process)
            if verdict is None:
                undecided = undecided or self._store.pod(process.pod_uid) is None
            elif self._may_act():
                await self._restore(broker, process, verdict)
        self._silences = {name: silence for name, silence in self._silences.items() if name in names}
        await self._forget_pools(broker, address, {process.pool_uid for process in processes})
        return undecided

    async def _judge(self, process: Process) -> Verdict | None:
        if not self._serves(process.namespace):
            return None
        silent = self._silent_seconds(process)
        pod = self._store.pod(process.pod_uid)
        ended = process.pod_uid in self._store.ended(PoolKey(process.namespace, process.pool))
        verdict = judge(process, pod, ended=ended)
        if verdict is not None or silent < SILENT_SECONDS:
            return verdict
        if pod is None:
            return None if await self._exists(process) else Verdict(False, "its Pod is gone")
        return Verdict(False, "its node is gone") if await self._node_is_gone(pod) else None

    def _silent_seconds(self, process: Process) -> float:
        now = self._clock()
        silence = self._silences.get(process.process)
        if silence is None or silence.counter != process.reported:
            silence = self._silences[process.process] = _Silence(process.reported, now)
        return now - silence.since

    async def _exists(self, process: Process) -> bool:
        """Ask the API server itself: a watch may have missed the Pod."""
        try:
            body = await self._api.read(PODS, process.namespace, process.pod)
        except NotFound:
            return False
        return bool(body["metadata"]["uid"] == process.pod_uid)

    async def _node_is_gone(self, pod: PodRecord) -> bool:
        """Whether a Pod's node is deleted, or declared out of service by its taint; unknown is no."""
        if pod.node is None:
            return False
        try:
            node = await self._api.read_node(pod.node)
        except NotFound:
            return True
        except ApiError:
            return False
        taints = node["spec"].get("taints") or ()
        return any(taint["key"] == "node.kubernetes.io/out-of-service" for taint in taints)

    async def _restore(self, broker: Broker, process: Process, verdict: Verdict) -> None:
        restored = await broker.restore(process, died=verdict.died)
        self._silences.pop(process.process, None)
        key = PoolKey(process.namespace, process.pool)
        if restored == Restored():
            return
        self._metrics.restored(key, restored.restored, restored.dead)
        log.info(
            "pool %s: worker %s has ended (%s): %d messages are back in their queues, %d dead letters",
            *(key, process.pod, verdict.why, restored.restored, restored.dead),
        )
        if restored.restored:
            message = f"{restored.restored} messages of worker {process.pod} are back in their queues: {verdict.why}"
            self._tell(key, "Normal", reasons.RESTORED, message, process.pod)

    def _note_visibility_timeout(self, place: _Place, process: Process) -> None:
        known = place.pools.get(process.pool_uid)
        if known is not None:
            known.visibility_timeout = process.visibility_timeout

    async def _take_over(self, broker: Broker, place: _Place) -> None:
        """What a plain worker of before left behind in the shared hash has no owner any more: nobody restores it."""
        now = self._clock()
        for each in place.pools.values():
            if now < each.take_over_at or not self._may_act() or not each.pool.agent:
                continue
            each.take_over_at = now + TAKE_OVER_SECONDS
            pool = each.pool
            taken = await broker.take_over(pool.broker.layout, pool.queues, older_than_seconds=each.visibility_timeout)
            if taken.restored:
                message = f"{taken.restored} messages that an earlier worker left behind are back in their queues"
                self._tell(pool.key, "Normal", reasons.RESTORED, message, "take-over")

    async def _forget_pools(self, broker: Broker, address: BrokerAddress, registered: set[str]) -> None:
        """A pool that is deleted or has moved is done with here, once nothing of it is registered nor left to run."""
        pools = self._places[address].pools
        for uid in [uid for uid in pools if self._homes.get(uid) != address and uid not in registered]:
            pool = pools[uid].pool
            if not self._store.pods(pool.key) and self._may_act():
                await broker.forget_pool(pool.broker.layout.key_prefix, uid)
                del pools[uid]
                self._store.forget_ended(pool.key)
        if not pools:
            del self._places[address]
