"""Where a broker is, and what a connection to it needs."""

from dataclasses import dataclass, field
from typing import Final

LONGEST_HOST: Final = 253
"""Characters of a name in DNS."""


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """PEM texts for a TLS connection; None: the system's own certificate authorities, no client certificate."""

    ca: str | None = None
    certificate: str | None = None
    private_key: str | None = None


@dataclass(frozen=True, slots=True)
class SentinelAccess:
    """What the Sentinels themselves ask for. `tls` None: they speak none."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: TlsMaterial | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """All that a connection needs; equal addresses share one. The URL may hold a password: never print it."""

    url: str = field(repr=False)
    tls: TlsMaterial | None = field(default=None, repr=False)
    sentinel_master: str | None = None
    sentinel: SentinelAccess | None = field(default=None, repr=False)
