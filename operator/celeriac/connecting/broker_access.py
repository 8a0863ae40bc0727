"""From a pool to the connection that reads its queues: Secrets resolved, connections shared, nothing stale."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine, Mapping, Set
from dataclasses import dataclass
from typing import Any, Final, Protocol

from celeriac.api.keys import PoolKey
from celeriac.api.reasons import Reason
from celeriac.brokers.address import BrokerAddress, TlsMaterial
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import Broker
from celeriac.cluster.errors import ApiError, SecretKeyMissing
from celeriac.pool.broker_url import scheme_of
from celeriac.pool.model import BrokerSpec, SecretKey, WorkerPool

log = logging.getLogger(__name__)

SECRET_SECONDS = 60.0
"""A Secret is read again after this long, so that a rotated password is found without a restart."""
SECRET_READS = 8
"""Secrets that are read at the same time, at most."""
RETRY_SECONDS = 3.0
"""A Secret that could not be read, or whose URL cannot be right, is read again after this long."""
READ_AGAIN_SECONDS: Final[Mapping[str, float]] = {
    Reason.BROKER_AUTHENTICATION_FAILED: RETRY_SECONDS,
    Reason.BROKER_TLS_FAILED: RETRY_SECONDS,
    Reason.BROKER_UNSUPPORTED: RETRY_SECONDS,
    Reason.BROKER_URL_INVALID: RETRY_SECONDS,
    Reason.BROKER_CONNECTION_FAILED: 15.0,
}
"""By doubt. A lost connection is more often an outage than a wrong host, and then all pools would ask at once."""


class SecretReader(Protocol):
    """Reads one key of a Secret as text (`celeriac.cluster.client.Api`)."""

    async def read_secret_key(self, namespace: str, name: str, key: str) -> str:
        """Raises SecretKeyMissing or another ApiError."""


@dataclass(slots=True)
class _Entry:
    pool: WorkerPool
    address: BrokerAddress | BrokerDoubt | None = None
    read_again_at: float = 0.0
    resolving: bool = False


class BrokerAccess:
    """Addresses per pool, one Broker per address. `lookup` never waits: reading Secrets goes on in the background."""

    def __init__(
        self,
        secrets: SecretReader,
        connect: Callable[[BrokerAddress], Broker],
        resolved: Callable[[PoolKey], None],
        closed: Callable[[BrokerAddress], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._secrets = secrets
        self._connect = connect
        self._resolved = resolved
        self._closed = closed
        self._clock = clock
        self._entries: dict[PoolKey, _Entry] = {}
        self._brokers: dict[BrokerAddress, Broker | BrokerDoubt] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._reads = asyncio.Semaphore(SECRET_READS)

    def lookup(self, pool: WorkerPool) -> BrokerAddress | BrokerDoubt | None:
        """The pool's address, why there is none, or None while its Secrets are being read for the first time."""
        entry = self._entries.get(pool.key)
        if entry is None or entry.pool.broker != pool.broker or entry.pool.uid != pool.uid:
            entry = self._entries[pool.key] = _Entry(pool)
        if not entry.resolving and self._clock() >= entry.read_again_at:
            entry.resolving = True
            self._spawn(self._resolve(entry))
        return entry.address

    async def resolve(self, namespace: str, broker: BrokerSpec) -> BrokerAddress:
        """The address of a broker whose Secrets are in `namespace`. Raises BrokerDoubt, or ApiError for a Secret."""
        url = broker.url if broker.url_from is None else await self._secret(namespace, broker.url_from)
        tls = None
        if broker.tls is not None:
            parts = (broker.tls.ca, broker.tls.certificate, broker.tls.private_key)
            tls = TlsMaterial(*[None if part is None else await self._secret(namespace, part) for part in parts])
        url = (url or "").strip()
        if tls is not None and scheme_of(url) != "rediss":
            raise BrokerDoubt(
                Reason.BROKER_URL_INVALID,
                "spec.broker.tls goes with a rediss:// URL only: write one in the Secret, or remove spec.broker.tls",
            )
        return BrokerAddress(url=url, tls=tls, sentinel_master=broker.sentinel_master)

    def doubted(self, key: PoolKey, reason: str) -> None:
        """The broker could not be read: where the Secret may be the reason, read it again soon."""
        entry, pause = self._entries.get(key), READ_AGAIN_SECONDS.get(reason)
        if entry is not None and pause is not None:
            entry.read_again_at = min(entry.read_again_at, self._clock() + pause)

    def broker(self, address: BrokerAddress) -> Broker:
        """The connection to an address, shared by all its pools. Raises BrokerDoubt for a URL that cannot be used."""
        if address not in self._brokers:
            try:
                self._brokers[address] = self._connect(address)
            except BrokerDoubt as doubt:  # it would fail the same way again, and a bad certificate is costly to read
                self._brokers[address] = doubt
        broker = self._brokers[address]
        if isinstance(broker, BrokerDoubt):
            raise BrokerDoubt(broker.reason, str(broker))
        return broker

    def retain(self, keys: Set[PoolKey], busy: Set[BrokerAddress] = frozenset()) -> None:
        """Forget all other pools, and close the connections that nobody uses any more; never one that is `busy`."""
        self._entries = {key: entry for key, entry in self._entries.items() if key in keys}
        used = {entry.address for entry in self._entries.values()}
        for address in [address for address in self._brokers if address not in used and address not in busy]:
            broker = self._brokers.pop(address)
            self._closed(address)
            if not isinstance(broker, BrokerDoubt):
                self._spawn(broker.close())

    async def close(self) -> None:
        """Close all connections."""
        self.retain(set())
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _resolve(self, entry: _Entry) -> None:
        pause = SECRET_SECONDS
        before = entry.address
        try:
            entry.address = await self.resolve(entry.pool.key.namespace, entry.pool.broker)
        except BrokerDoubt as doubt:
            entry.address = doubt
            pause = RETRY_SECONDS
        except ApiError as error:
            log.warning("pool %s: its Secret could not be read: %s", entry.pool.key, error)
            pause = RETRY_SECONDS
            if not isinstance(entry.address, BrokerAddress):  # a good one stays in use while the API server is away
                entry.address = BrokerDoubt(
                    Reason.SECRET_UNREADABLE,
                    f"the operator cannot read the broker's Secret: {error.message}; check its permissions",
                )
        finally:
            # Spread, so that a thousand pools that were found together do not read their Secrets in step for ever.
            entry.read_again_at = self._clock() + pause * random.uniform(0.8, 1.0)
            entry.resolving = False
        if entry.address != before:
            self._resolved(entry.pool.key)

    async def _secret(self, namespace: str, wanted: SecretKey) -> str:
        try:
            async with self._reads:
                return await self._secrets.read_secret_key(namespace, wanted.name, wanted.key)
        except SecretKeyMissing as error:
            reason = Reason.SECRET_KEY_NOT_FOUND if error.secret_exists else Reason.SECRET_NOT_FOUND
            raise BrokerDoubt(reason, error.message) from error
