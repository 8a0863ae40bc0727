"""Which brokers pools have named: a Pod alone, which more people may make than pools, leads the operator nowhere.

What was seen is kept in an annotation of the operator's Lease, which only the operator writes and writes anyway: so a
pool that is deleted while no operator looks is still known by the next one. It costs no request, and no right.
"""

import base64
import hashlib
import logging
import re
from collections.abc import Iterable
from typing import Final, Protocol

from celeriac.api.keys import PoolKey
from celeriac.api.names import BROKERS_ANNOTATION
from celeriac.pool.broker import broker_reference
from celeriac.pool.model import WorkerPool
from celeriac.watching.store import KnownPool

log = logging.getLogger(__name__)

DIGEST_BYTES: Final = 12
"""96 bits: a text of one's own choice that has the digest of another's cannot be found."""
MOST: Final = 12_000
"""Digests that are noted, 200 KiB: annotations of one object may have 256 KiB, and each renewal writes them."""
_DIGEST: Final = re.compile(r"[A-Za-z0-9_-]{16}")


class Notes(Protocol):
    """What outlives this process (`celeriac.cluster.lease.Lease`)."""

    def annotation(self, name: str) -> str | None:
        """What stands there; None while that is not known."""

    def annotate(self, name: str, text: str) -> None:
        """Let something stand there soon."""


class Acquaintances:
    """Brokers by the digest of their pool's name and of what the pool said, the latest seen last."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._seen: dict[str, None] = {}
        self._own: dict[PoolKey, tuple[WorkerPool, str]] = {}
        self._noted: str | None = None
        self._told = False

    def clear(self) -> None:
        """Forget everything: another operator may note what it sees now."""
        self._seen, self._own, self._noted = {}, {}, None

    @property
    def is_complete(self) -> bool:
        """Whether it is known what operators of before have noted."""
        return self._noted is not None

    def meet(self, pools: Iterable[KnownPool]) -> bool:
        """Take over the pools that are there, and what operators of before have noted; whether any is new.

        It is asked for twice a second.
        """
        if self._noted is None and (noted := self._notes.annotation(BROKERS_ANNOTATION)) is not None:
            self._noted = noted
            self._seen = dict.fromkeys(filter(_DIGEST.fullmatch, noted.split())) | self._seen
        before, self._own, met = self._own, {}, len(self._seen)
        for known in pools:
            spec = known.spec
            if isinstance(spec, WorkerPool):
                last = before.get(known.key)
                if last is None or last[0] is not spec:
                    last = spec, digest_of(known.key, broker_reference(spec.broker))
                self._own[known.key] = last
                self._seen[last[1]] = None
        return len(self._seen) > met

    def keep(self, named: Iterable[tuple[PoolKey, str]]) -> None:
        """Forget the brokers that neither a pool nor a Pod names any more, and note the others."""
        own = {digest for _, digest in self._own.values()}
        in_use = own | {digest_of(*each) for each in named}
        kept = [digest for digest in self._seen if digest in in_use]
        self._seen = dict.fromkeys(kept)
        # Those that only Pods name are left out first; the others in an order that does not change.
        first = sorted(kept, key=lambda digest: (digest in own, digest))[-MOST:]
        noted = " ".join(sorted(first))
        if noted == self._noted:
            return
        if len(kept) > MOST and not self._told:
            log.warning("more than %d brokers are named: Pods of some deleted pools will not be known", MOST)
        self._told = len(kept) > MOST
        self._noted = noted
        self._notes.annotate(BROKERS_ANNOTATION, noted)

    def knows(self, key: PoolKey, reference: str) -> bool:
        """Whether a pool of this name has named this broker, so far as anybody remembers."""
        return digest_of(key, reference) in self._seen


def digest_of(key: PoolKey, reference: str) -> str:
    """Of a pool's name and what it, or a Pod of it, says of its broker. No name may hold a zero byte."""
    text = "\0".join((*key, reference)).encode(errors="surrogatepass")
    return base64.urlsafe_b64encode(hashlib.sha256(text).digest()[:DIGEST_BYTES]).decode()
