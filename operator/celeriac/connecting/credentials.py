"""From a broker as a spec names it to the address with its credentials: Secrets, read again before they are stale."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, Protocol, Self

from celeriac.api.keys import PoolKey
from celeriac.api.reasons import Reason
from celeriac.brokers.address import BrokerAddress, SentinelAccess, TlsMaterial
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.cluster.client import SecretText
from celeriac.cluster.errors import ApiError, Forbidden, SecretKeyMissing
from celeriac.cluster.text import bounded
from celeriac.connecting.secret_digest import secret_digest
from celeriac.pool.broker_url import scheme_of
from celeriac.pool.model import BrokerSpec, QueueLayout, SecretKey, TlsSecrets, WorkerPool

log = logging.getLogger(__name__)

SECRET_SECONDS = 60.0
"""A Secret is read again after this long, so that a rotated password is found without a restart."""
SECRET_READS = 8
"""Secrets that are read at the same time, at most."""
RETRY_SECONDS = 3.0
"""A Secret that could not be read, or whose URL cannot be right, is read again after this long."""
READ_AGAIN_SECONDS: Final[Mapping[str, float]] = {
    Reason.BROKER_AUTHENTICATION_FAILED: RETRY_SECONDS,
    Reason.BROKER_NOT_ALLOWED: RETRY_SECONDS,
    Reason.BROKER_TLS_FAILED: RETRY_SECONDS,
    Reason.BROKER_UNSUPPORTED: RETRY_SECONDS,
    Reason.BROKER_URL_INVALID: RETRY_SECONDS,
    Reason.BROKER_CONNECTION_FAILED: 15.0,
}
"""By doubt. A lost connection is more often an outage than a wrong host, and then all pools would ask at once."""


class _Bound(NamedTuple):
    """Of a text, in characters: whoever may write a Secret may write a megabyte into it, and addresses are kept."""

    most: int
    cure: str


URL: Final = _Bound(4096, "write the broker's URL alone into it")
WORD: Final = _Bound(1024, "write the user or the password of the Sentinels alone into it")
PEM: Final = _Bound(64 * 1024, "name those certificates only that sign the broker's, or the client's with its chain")
KEY: Final = _Bound(4096, "give the client a key on a curve, or RSA with 4096 bits at most, alone in PEM form")
"""To sign with 16384 bits, which each handshake does, takes the event loop 0.2 s."""


_NO_LAYOUT: Final = QueueLayout()


class SecretReader(Protocol):
    """Reads one key of a Secret as text (`celeriac.cluster.client.Api`)."""

    async def read_secret_key(self, namespace: str, name: str, key: str) -> SecretText:
        """Raises SecretKeyMissing or another ApiError."""


class BrokerSource(NamedTuple):
    """Where an address comes from: the broker as a spec names it, and the namespace of its Secrets.

    Pools of one namespace that name the same Secrets have one source, however their queues are laid out.
    """

    namespace: str
    broker: BrokerSpec

    @classmethod
    def of(cls, namespace: str, broker: BrokerSpec) -> Self:
        """The source of a broker."""
        return cls(namespace, broker if broker.layout == _NO_LAYOUT else replace(broker, layout=_NO_LAYOUT))

    @classmethod
    def of_pool(cls, pool: WorkerPool) -> Self:
        """The source of a pool's broker."""
        return cls.of(pool.key.namespace, pool.broker)


@dataclass(slots=True)
class _Entry:
    """One source. Times are monotonic seconds.

    digest  of the Secrets as they were when the address could last be read
    askers  the pools that asked for it lately, by uid, and when
    """

    address: BrokerAddress | BrokerDoubt | None = None
    digest: str | None = None
    read_at: float = 0.0
    read_again_at: float = 0.0
    resolving: bool = False
    askers: dict[str, tuple[PoolKey, float]] = field(default_factory=dict)


class Credentials:
    """Addresses by source. Asking for one never waits: Secrets are read in the background."""

    def __init__(
        self, secrets: SecretReader, changed: Callable[[PoolKey], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`changed` is called with each pool that asked for an address which has become another."""
        self._secrets = secrets
        self._changed = changed
        self._clock = clock
        self._entries: dict[BrokerSource, _Entry] = {}
        self._needed: dict[str, Set[BrokerSource]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.version = 0
        """Grows when an address, or why there is none, becomes another."""
        self._reads = asyncio.Semaphore(SECRET_READS)

    def of_pool(self, pool: WorkerPool) -> BrokerAddress | BrokerDoubt | None:
        """The pool's address, why there is none, or None while its Secrets are being read for the first time."""
        source = BrokerSource.of_pool(pool)
        entry = self._entries.setdefault(source, _Entry())
        if pool.uid not in entry.askers:
            # Whoever makes a pool anew may have made its Secret anew before.
            entry.read_again_at = min(entry.read_again_at, entry.read_at + RETRY_SECONDS)
        entry.askers[pool.uid] = pool.key, self._clock()
        return self.of(source)

    def digest_of_pool(self, pool: WorkerPool) -> str | None:
        """What changes with the pool's Secrets; None where it has none, or none of them was read yet."""
        entry = self._entries.get(BrokerSource.of_pool(pool))
        return entry.digest if entry is not None else None

    def of(self, source: BrokerSource) -> BrokerAddress | BrokerDoubt | None:
        """The same for a broker that no pool names any more."""
        entry = self._entries.setdefault(source, _Entry())
        self._read_if_due(source, entry, self._clock())
        return entry.address

    def refresh(self) -> None:
        """Read again what is due. Whoever keeps an address asks for this."""
        now = self._clock()
        for source, entry in self._entries.items():
            self._read_if_due(source, entry, now)

    def _read_if_due(self, source: BrokerSource, entry: _Entry, now: float) -> None:
        if entry.resolving or now < entry.read_again_at:
            return
        entry.resolving = True
        task = asyncio.get_running_loop().create_task(self._resolve(source, entry))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def doubted(self, source: BrokerSource, reason: str) -> None:
        """The broker could not be read: where the Secret may be the reason, read it again soon."""
        entry, pause = self._entries.get(source), READ_AGAIN_SECONDS.get(reason)
        if entry is not None and pause is not None:
            entry.read_again_at = min(entry.read_again_at, self._clock() + pause)

    def retain(self, user: str, sources: Set[BrokerSource]) -> None:
        """`user` needs these sources; forget those that no user needs any more."""
        self._needed[user] = sources
        self._entries = {
            source: entry
            for source, entry in self._entries.items()
            if any(source in needed for needed in self._needed.values())
        }

    async def close(self) -> None:
        """Read nothing more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _resolve(self, source: BrokerSource, entry: _Entry) -> None:
        pause = SECRET_SECONDS
        before = entry.address, entry.digest
        read: list[SecretText] = []
        try:
            entry.address = await self._address(source, read)
            entry.digest = secret_digest(read)
        except BrokerDoubt as doubt:
            entry.address = doubt
            if doubt.reason != Reason.SECRET_UNREADABLE:  # a megabyte is not read every few seconds
                pause = RETRY_SECONDS
        except ApiError as error:
            log.warning("a broker's Secret in namespace %s could not be read: %s", source.namespace, error)
            pause = RETRY_SECONDS
            if not isinstance(entry.address, BrokerAddress):  # a good one stays in use while the API server is away
                entry.address = BrokerDoubt(
                    Reason.SECRET_UNREADABLE,
                    f"the operator cannot read the broker's Secret: {bounded(error.message)}; {_cure(error)}",
                )
        except Exception:
            log.exception("a broker's Secret in namespace %s could not be read, by a fault of the operator", source[0])
            if not isinstance(entry.address, BrokerAddress):
                entry.address = BrokerDoubt(
                    Reason.SECRET_UNREADABLE, "the operator cannot read the broker's Secret, by a fault of its own"
                )
        finally:
            entry.read_at = self._clock()
            # Spread, so that a thousand pools that were found together do not read their Secrets in step for ever.
            entry.read_again_at = entry.read_at + pause * random.uniform(0.8, 1.0)
            entry.resolving = False
        since = entry.read_at - SECRET_SECONDS
        entry.askers = {uid: (key, asked) for uid, (key, asked) in entry.askers.items() if asked >= since}
        if (entry.address, entry.digest) != before:
            self.version += 1
            for key, _ in entry.askers.values():
                self._changed(key)

    async def _address(self, source: BrokerSource, read: list[SecretText]) -> BrokerAddress:
        """The address; `read` gets all that was read of Secrets.

        Raises BrokerDoubt, or ApiError for a Secret that cannot be read.
        """
        namespace, broker = source
        url = broker.url if broker.url_from is None else await self._secret(namespace, broker.url_from, URL, read)
        tls = await self._tls(namespace, broker.tls, read)
        url = (url or "").strip()
        if tls is not None and scheme_of(url) != "rediss":
            raise BrokerDoubt(
                Reason.BROKER_URL_INVALID,
                "spec.broker.tls goes with a rediss:// URL only: write one in the Secret, or remove spec.broker.tls",
            )
        sentinel = None
        if broker.sentinel is not None:
            sentinel = SentinelAccess(
                await self._optional(namespace, broker.sentinel.username, WORD, read),
                await self._optional(namespace, broker.sentinel.password, WORD, read),
                await self._tls(namespace, broker.sentinel.tls, read),
            )
        return BrokerAddress(url, tls, broker.sentinel_master, sentinel)

    async def _tls(self, namespace: str, tls: TlsSecrets | None, read: list[SecretText]) -> TlsMaterial | None:
        if tls is None:
            return None
        parts = ((tls.ca, PEM), (tls.certificate, PEM), (tls.private_key, KEY))
        return TlsMaterial(*[await self._optional(namespace, part, bound, read) for part, bound in parts])

    async def _optional(
        self, namespace: str, wanted: SecretKey | None, bound: _Bound, read: list[SecretText]
    ) -> str | None:
        return None if wanted is None else await self._secret(namespace, wanted, bound, read)

    async def _secret(self, namespace: str, wanted: SecretKey, bound: _Bound, read: list[SecretText]) -> str:
        try:
            async with self._reads:
                secret = await self._secrets.read_secret_key(namespace, wanted.name, wanted.key)
        except SecretKeyMissing as error:
            reason = Reason.SECRET_KEY_NOT_FOUND if error.secret_exists else Reason.SECRET_NOT_FOUND
            raise BrokerDoubt(reason, error.message) from error
        if len(secret.text) > bound.most:
            raise BrokerDoubt(
                Reason.SECRET_UNREADABLE,
                f"key {wanted.key} of Secret {wanted.name} has {len(secret.text)} characters, where the operator takes"
                f" {bound.most} at most: {bound.cure}",
            )
        read.append(secret)
        return secret.text


def _cure(error: ApiError) -> str:
    """What to do about a Secret that the API server does not give."""
    if isinstance(error, Forbidden):
        return "grant the operator get on Secrets in this namespace, as its chart does (docs/security.md tells how)"
    return "the API server is asked again: look at it if this lasts"
