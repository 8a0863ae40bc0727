"""Puts back what workers held that are certainly gone, at once instead of after a visibility timeout.

The registry in Redis names every worker process with the keys of its in-flight messages, whether or not its pool still
exists. What may be believed of a process's death is in `celeriac.deaths`. Restoring is idempotent and safe to race:
with the worker's own successor in the same Pod, and with another operator.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from celeriac.api.authority import Authority
from celeriac.api.keys import PoolKey
from celeriac.api.notices import Notice
from celeriac.api.reasons import Reason
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.agents import Process, Restored
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import Salvage
from celeriac.cluster.client import Api
from celeriac.cluster.errors import ApiError, NotFound
from celeriac.cluster.paths import PODS
from celeriac.connecting.broker_access import BrokerAccess
from celeriac.pool.model import WorkerPool
from celeriac.recovery.gone import SILENT_SECONDS, Silences, Verdict, judge
from celeriac.recovery.orphans import Orphans
from celeriac.telemetry.metrics import Metrics
from celeriac.watching.store import Store
from celeriac.workers.custody import Custody

log = logging.getLogger(__name__)

SCAN_SECONDS = 5.0
"""Between two looks into a registry while nothing calls for one, and between two looks for orphans."""
HURRY_SECONDS = 1.0
"""Between two looks while a worker seems to have ended and is still registered."""
TAKE_OVER_SECONDS = 30.0
GIVE_UP_SECONDS = 3600.0
"""A broker that no pool names any more and that cannot be read is left alone after so long."""
OF_ONE_PROCESS = {Reason.BROKER_WRONG_TYPE, Reason.BROKER_PERMISSION_DENIED, Reason.BROKER_ERROR}
"""Doubts after which the next process is worth a try: they are about keys, not about the connection."""
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


@dataclass(slots=True)
class _Pool:
    """A pool of a broker; it is remembered after it is deleted or has moved until nothing of it is left there.

    spec                None where it was deleted before this operator saw it
    visibility_timeout  of the application, in seconds; None until a worker has said it
    """

    key: PoolKey
    spec: WorkerPool | None = None
    take_over_at: float = 0.0
    visibility_timeout: float | None = None


@dataclass(slots=True)
class _Place:
    """One broker: its pools by registry and uid, and when to look again (monotonic seconds).

    named        registryes that Pods without their pool name
    unresolved   uids of pools with workers that may be gone, whose messages are not back yet
    doubt        why it could not be read or written when last tried, and since when it cannot
    """

    pools: dict[tuple[str, str], _Pool] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    scan_at: float = 0.0
    ended: frozenset[tuple[str, float | None]] = frozenset()
    silences: Silences = field(default_factory=Silences)
    unresolved: set[str] = field(default_factory=set)
    doubt: str | None = None
    doubt_since: float = 0.0


class Reaper:
    """Restores in the background while it has the authority."""

    def __init__(
        self,
        *,
        api: Api,
        store: Store,
        access: BrokerAccess,
        metrics: Metrics,
        authority: Authority,
        custody: Custody,
        serves: Callable[[str], bool],
        tell: Callable[[Notice], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`serves` says whether the Pods of a namespace are known to this operator."""
        self._api = api
        self._store = store
        self._access = access
        self._metrics = metrics
        self._authority = authority
        self._custody = custody
        self._serves = serves
        self._tell = tell
        self._clock = clock
        self._orphans = Orphans(store, access.resolve)
        self._places: dict[BrokerAddress, _Place] = {}
        self._homes: dict[str, tuple[BrokerAddress, str]] = {}
        self._scanning: dict[BrokerAddress, asyncio.Task[None]] = {}

    async def run(self, seconds: float) -> None:
        """Look for ended workers for ever, every `seconds`; each broker is served by a task of its own."""
        looking = asyncio.create_task(self._look_for_orphans())
        try:
            while True:
                try:
                    self._tick()
                except Exception:
                    log.exception("what ended workers held was not looked for, by a fault of the operator")
                await asyncio.sleep(seconds)
        finally:
            looking.cancel()

    async def settle(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._scanning.values(), return_exceptions=True)

    async def _look_for_orphans(self) -> None:
        while True:
            try:
                if self._authority.may_judge_pods:
                    await self._orphans.look()
            except Exception:
                log.exception("Pods without their pool were not looked for, by a fault of the operator")
            await asyncio.sleep(SCAN_SECONDS)

    def _tick(self) -> None:
        if self._authority.may_judge_pods:
            self._look()
        else:
            self._places.clear()
        self._publish()

    def _publish(self) -> None:
        self._custody.needed = self._places.keys() | self._scanning.keys()
        self._custody.unresolved = {uid for place in self._places.values() for uid in place.unresolved}

    def _look(self) -> None:
        self._follow_pools()
        for address, place in list(self._places.items()):
            if address not in self._scanning and self._is_due(place):
                self._scanning[address] = asyncio.create_task(self._scan(address, place))

    def _follow_pools(self) -> None:
        """Note where each pool's broker is now; where it was before is left once nothing of it is registered there."""
        self._homes = {}
        for known in self._store.pools.values():
            spec = known.spec
            if not isinstance(spec, WorkerPool) or known.deleting:
                continue
            address = self._access.lookup(spec)
            if isinstance(address, BrokerAddress):
                registry = spec.broker.layout.registry
                self._homes[known.uid] = address, registry
                pools = self._places.setdefault(address, _Place()).pools
                pools.setdefault((registry, known.uid), _Pool(spec.key)).spec = spec
        for place in self._places.values():
            place.named = set()
        for address, registries in self._orphans.places.items():
            self._places.setdefault(address, _Place()).named = registries

    def _is_due(self, place: _Place) -> bool:
        """Look at once where a worker has just ended, else now and then."""
        ended = frozenset(self._ended(place))
        if not ended <= place.ended:
            place.scan_at = 0.0
        place.ended = ended
        return self._clock() >= place.scan_at

    def _ended(self, place: _Place) -> Iterable[tuple[str, float | None]]:
        for key in {each.key for each in place.pools.values()}:
            for pod in self._store.pods(key):
                if pod.finished_at is not None:
                    yield pod.uid, pod.finished_at
            for uid in self._store.ended(key):
                yield uid, None

    async def _scan(self, address: BrokerAddress, place: _Place) -> None:
        pause = SCAN_SECONDS
        try:
            salvage = self._access.broker(address).salvage
            if salvage is not None:
                if await self._reap(salvage, address, place):
                    pause = HURRY_SECONDS
                await self._take_over(salvage, address, place)
            place.doubt = None
        except BrokerDoubt as doubt:
            self._note_doubt(address, place, doubt)
        except Exception:
            log.exception("what ended workers held could not be looked for, by a fault of the operator")
        finally:
            place.scan_at = self._clock() + pause
            self._scanning.pop(address, None)

    def _note_doubt(self, address: BrokerAddress, place: _Place, doubt: BrokerDoubt) -> None:
        """Say so once. Nobody could report either, so that silence means nothing; and some brokers never come back."""
        place.silences.forget()
        now = self._clock()
        if place.doubt is None:
            place.doubt_since = now
        if place.doubt != doubt.reason:
            log.warning("what ended workers held cannot be looked for: %s", doubt)
        place.doubt = doubt.reason
        at_home = any(home == address for home, _ in self._homes.values())
        if at_home or place.named or now - place.doubt_since < GIVE_UP_SECONDS:
            return
        names = ", ".join(str(pool.key) for pool in place.pools.values())
        log.warning("what workers of %s held is given up, run `celeriac evacuate` for it: %s", names, doubt)
        self._leave(address, place)

    async def _reap(self, salvage: Salvage, address: BrokerAddress, place: _Place) -> bool:
        """Restore what gone processes held; True while some may soon be found gone."""
        registries = place.named | {registry for registry, _ in place.pools}
        processes = [each for each in await salvage.processes(registries) if self._serves(each.namespace)]
        self._note_pools(place, processes)
        place.silences.keep({process.process for process in processes})
        unresolved: set[str] = set()
        nodes: dict[str, bool] = {}
        for process in processes:
            verdict = await self._judge(process, place.silences.seconds(process, self._clock()), nodes)
            if verdict is None and self._seems_ended(process):
                unresolved.add(process.pool_uid)
            elif verdict is not None and self._authority.may_judge_pods:
                await self._restore(salvage, process, verdict)
        place.unresolved = unresolved
        self._publish()
        await self._forget_pools(salvage, address, place, {_of(process) for process in processes})
        return bool(unresolved)

    def _note_pools(self, place: _Place, processes: Sequence[Process]) -> None:
        """What the registry tells of pools, of those too that nobody here has ever seen."""
        timeouts: dict[tuple[str, str], float] = {}
        for process in processes:
            pool = place.pools.setdefault(_of(process), _Pool(PoolKey(process.namespace, process.pool)))
            longest = max(process.visibility_timeout, timeouts.get(_of(process), 0.0))
            timeouts[_of(process)] = pool.visibility_timeout = longest

    def _seems_ended(self, process: Process) -> bool:
        """Whether its Pod is not there, or its container ended after it had started."""
        pod = self._store.pod(process.pod_uid)
        return pod is None or (pod.finished_at is not None and process.started <= pod.finished_at)

    async def _judge(self, process: Process, silent: float, nodes: dict[str, bool]) -> Verdict | None:
        """See `judge`; what it leaves open of a silent process is asked of the API server. Keeps answers in `nodes`."""
        pod = self._store.pod(process.pod_uid)
        ended = process.pod_uid in self._store.ended(PoolKey(process.namespace, process.pool))
        verdict = judge(process, pod, ended=ended, silent_seconds=silent)
        if verdict is not None or silent < SILENT_SECONDS:
            return verdict
        if pod is None:
            return None if await self._may_exist(process) else Verdict(False, "its Pod is gone")
        if pod.node is None:
            return None
        if pod.node not in nodes:
            nodes[pod.node] = await self._is_gone(pod.node)
        return Verdict(False, "its node is gone") if nodes[pod.node] else None

    async def _may_exist(self, process: Process) -> bool:
        """Ask the API server itself: a watch may have missed the Pod. No answer is a yes."""
        try:
            body = await self._api.read(PODS, process.namespace, process.pod)
        except NotFound:
            return False
        except ApiError:
            return True
        return bool(body["metadata"]["uid"] == process.pod_uid)

    async def _is_gone(self, name: str) -> bool:
        """Whether a node is deleted, or declared out of service by its taint; unknown is no."""
        try:
            node = await self._api.read_node(name)
        except NotFound:
            return True
        except ApiError:
            return False
        return any(taint["key"] == OUT_OF_SERVICE for taint in node["spec"].get("taints") or ())

    async def _restore(self, salvage: Salvage, process: Process, verdict: Verdict) -> None:
        """Put back what it held. Raises BrokerDoubt where the broker as a whole is in doubt."""
        key = PoolKey(process.namespace, process.pool)
        try:
            restored = await salvage.restore(process, died=verdict.died)
        except BrokerDoubt as doubt:
            if doubt.reason not in OF_ONE_PROCESS:
                raise
            message = f"what worker {process.pod} held is not back in its queues yet: {doubt}"
            log.warning("pool %s: %s", key, message)
            self._tell(Notice(key, "Warning", doubt.reason, message, "restore"))
            return
        if restored == Restored():
            return
        if self._store.pools.get(key) is not None:
            self._metrics.restored(key, restored.restored, restored.dead)
        log.info(
            "pool %s: worker %s has ended (%s): %d messages are back in their queues, %d dead letters",
            *(key, process.pod, verdict.why, restored.restored, restored.dead),
        )
        if restored.restored:
            message = f"{restored.restored} messages of worker {process.pod} are back in their queues: {verdict.why}"
            self._tell(Notice(key, "Normal", Reason.RESTORED, message, process.pod))

    async def _take_over(self, salvage: Salvage, address: BrokerAddress, place: _Place) -> None:
        """What a plain worker of before left behind in the shared hash has no owner any more: nobody restores it.

        How old it must be only the application's workers know.
        """
        now = self._clock()
        for (registry, uid), each in list(place.pools.items()):
            spec, timeout = each.spec, each.visibility_timeout
            if spec is None or not spec.agent or timeout is None or self._homes.get(uid) != (address, registry):
                continue
            if now < each.take_over_at or not self._authority.may_judge_pods:
                continue
            each.take_over_at = now + TAKE_OVER_SECONDS
            taken = await salvage.take_over(spec.broker.layout, spec.queues, older_than_seconds=timeout)
            if taken.restored:
                message = f"{taken.restored} messages that an earlier worker left behind are back in their queues"
                self._tell(Notice(spec.key, "Normal", Reason.RESTORED, message, "take-over"))

    async def _forget_pools(
        self, salvage: Salvage, address: BrokerAddress, place: _Place, registered: set[tuple[str, str]]
    ) -> None:
        """A pool that is deleted or has moved is done with here, once nothing of it is registered nor left to run."""
        gone = [each for each in place.pools if self._homes.get(each[1]) != (address, each[0])]
        for registry, uid in gone:
            key = place.pools[registry, uid].key
            is_deleted = self._store.pools.get(key) is None
            left_to_run = registry in place.named or (is_deleted and self._store.pods(key))
            if (registry, uid) in registered or left_to_run or not self._authority.may_judge_pods:
                continue
            await salvage.forget_pool(registry, uid)
            del place.pools[registry, uid]
            if is_deleted:
                self._store.forget_ended(key)
        if not place.pools and not place.named:
            self._leave(address, place)

    def _leave(self, address: BrokerAddress, place: _Place) -> None:
        if self._places.get(address) is place:  # another may stand there since the Lease was lost and won
            del self._places[address]


def _of(process: Process) -> tuple[str, str]:
    """Where its pool stands in a registry."""
    return process.registry, process.pool_uid
