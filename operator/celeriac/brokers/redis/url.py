"""A Celery broker URL for Redis, read as kombu reads it (kombu.utils.url, kombu.transport.redis)."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from celeriac.api.reasons import Reason
from celeriac.api.words import holds_control
from celeriac.brokers.address import LONGEST_HOST, BrokerAddress, SentinelAccess
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.pool.url_options import option_problem

REDIS_PORT: Final = 6379
SENTINEL_PORT: Final = 26379
LONGEST_NAME: Final = 255
MOST_SENTINELS: Final = 16
_SPEC_CURE: Final = "remove it"
_SECRET_CURE: Final = "remove it from the Secret; a file that a Secret is made from often ends with a line end"
LONGEST_NUMBER: Final = 9
"""Digits of the number of a database: Redis keeps it in 32 bits."""

_VERIFY: Final[Mapping[str, ssl.VerifyMode]] = {
    "CERT_REQUIRED": ssl.CERT_REQUIRED,
    "CERT_OPTIONAL": ssl.CERT_OPTIONAL,
    "CERT_NONE": ssl.CERT_NONE,
    "required": ssl.CERT_REQUIRED,
    "optional": ssl.CERT_OPTIONAL,
    "none": ssl.CERT_NONE,
}


@dataclass(frozen=True, slots=True)
class RedisTarget:
    """One Redis database and how to reach it: `nodes` (host, port), or the unix socket `path`.

    With `sentinel_master` the nodes are Sentinels. `verify` and `check_hostname` matter with `tls` only.
    """

    nodes: tuple[tuple[str, int], ...] = ()
    path: str | None = None
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_master: str | None = None
    sentinel: SentinelAccess | None = field(default=None, repr=False)
    tls: bool = False
    verify: ssl.VerifyMode = ssl.CERT_REQUIRED
    check_hostname: bool = True

    @property
    def where(self) -> str:
        """The place in words, for messages: no user and no password."""
        nodes = ", ".join(f"{_shown(host)}:{port}" for host, port in self.nodes)
        if self.sentinel_master:
            return f"Redis master {self.sentinel_master!r} of Sentinel {nodes}"
        return f"Redis at {_shown(self.path) if self.path else nodes}"

    @property
    def place(self) -> str:
        """The database in words: two targets that differ in user, password or TLS only are one place."""
        return f"{self.where}, database {self.database}"


def parse(address: BrokerAddress) -> RedisTarget:
    """Read the URL.

    Raises BrokerDoubt (InvalidURL, UnsupportedBroker); its message never repeats the URL, which may hold a password.
    """
    url = address.url.strip()
    _require_line(url, "it")
    first, *others = [part for part in url.split(";") if part]
    parts = _split(first)
    if parts.scheme == "sentinel":
        return _sentinel(address, parts, [_split(other) for other in others])
    if others:
        raise BrokerDoubt(
            Reason.BROKER_UNSUPPORTED,
            "the broker URL lists several Redis servers: kombu would fail over between them, which splits the queues;"
            " name one server, or use sentinel:// URLs",
        )
    if parts.scheme == "redis+socket":
        return _unix_socket(address, parts)
    return replace(_access(address, parts), nodes=(_node(parts, REDIS_PORT),), database=_database(parts.path))


def _split(url: str) -> SplitResult:
    """Take the URL apart, or say which character has to be written as %XX.

    A raw / ? or # in a password ends the host part early; what follows then holds the @.
    """
    scheme, _, rest = url.partition("://")
    try:
        parts = urlsplit(f"http://{rest}")
        _ = parts.port
    except ValueError:
        parts = None
    if parts is None or "@" in parts.path + parts.query or parts.fragment:
        raise _invalid(
            "its user, password, host or port cannot be told apart: write special characters of the"
            " password as %XX (/ as %2F, ? as %3F, # as %23, @ as %40) and the port as a number"
        )
    return parts._replace(scheme=scheme)


def _sentinel(address: BrokerAddress, first: SplitResult, others: list[SplitResult]) -> RedisTarget:
    if not address.sentinel_master:
        raise _invalid("a sentinel:// URL needs the name of the master: set spec.broker.sentinelMaster")
    if any(other.scheme != "sentinel" for other in others):
        raise _invalid("every address of a Sentinel list begins with sentinel://")
    if len(others) >= MOST_SENTINELS:
        raise _invalid(f"it lists more than {MOST_SENTINELS} Sentinels: three or five of them are enough")
    _require_line(address.sentinel_master, "the name of the master in spec.broker.sentinelMaster", _SPEC_CURE)
    if address.sentinel is not None:
        _require_line(address.sentinel.username, "the text of spec.broker.sentinel.usernameFrom", _SECRET_CURE)
        _require_line(address.sentinel.password, "the text of spec.broker.sentinel.passwordFrom", _SECRET_CURE)
    # Like kombu: database and credentials are those of the first address.
    return replace(
        _access(address, first),
        nodes=tuple(_node(parts, SENTINEL_PORT) for parts in [first, *others]),
        database=_database(first.path),
        sentinel_master=address.sentinel_master,
        sentinel=address.sentinel,
    )


def _unix_socket(address: BrokerAddress, parts: SplitResult) -> RedisTarget:
    path = unquote(parts.path)
    _require_line(path, "the path of its socket")
    if parts.hostname or path in {"", "/"}:
        raise _invalid("a unix socket is written redis+socket:///path/of/redis.sock?virtual_host=0")
    query = dict(parse_qsl(parts.query))
    return replace(_access(address, parts), path=path, database=_database(query.get("virtual_host", "")), tls=False)


def _node(parts: SplitResult, default_port: int) -> tuple[str, int]:
    if not parts.hostname:
        raise _invalid("it names no host: write redis://HOST:6379/0")
    host = unquote(parts.hostname)
    _require_line(host, "its host")
    if len(host) > LONGEST_HOST:
        raise _invalid(
            f"its host is longer than {LONGEST_HOST} characters, as no name may be: write redis://HOST:6379/0"
        )
    return host, parts.port or default_port


def _database(path: str) -> int:
    """Number of the database, from the path or virtual_host as kombu takes it; none is 0."""
    number = unquote(path).lstrip("/")
    if number and (not number.isdecimal() or len(number) > LONGEST_NUMBER):
        raise _invalid("what follows the host is the number of the database: write redis://HOST:6379/0")
    return int(number or 0)


def _access(address: BrokerAddress, parts: SplitResult) -> RedisTarget:
    """Credentials, and TLS as the URL asks for it; the place is left open.

    File names in the URL (ssl_ca_certs, ssl_certfile, ssl_keyfile) belong to the worker's image: address.tls stands
    for them here. Unlike kombu, rediss:// without ssl_cert_reqs verifies the server.
    """
    problem = option_problem(parts.scheme, parts.query)
    if problem is not None:
        raise BrokerDoubt(Reason.BROKER_URL_INVALID, f"the broker URL {problem}")
    query = dict(parse_qsl(parts.query))
    wanted = query.get("ssl_cert_reqs", "required")
    if wanted not in _VERIFY:
        raise _invalid(f"ssl_cert_reqs is one of {', '.join(_VERIFY)}")
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    _require_line(username, "its user")
    _require_line(password, "its password")
    return RedisTarget(
        username=username or None,
        password=password or None,
        tls=parts.scheme == "rediss" or address.tls is not None or any(key.startswith("ssl_") for key in query),
        verify=_VERIFY[wanted],
        check_hostname=query.get("ssl_check_hostname", "true").lower() != "false",
    )


def _require_line(text: str | None, what: str, cure: str = "remove it, also where it is written as %XX") -> None:
    """Refuse, before anything is sent, what another service than Redis would read as lines of their own."""
    if text is not None and holds_control(text):
        raise _invalid(f"{what} holds a line end or another control character: {cure}")


def _shown(text: str) -> str:
    """A host or path of somebody's Secret as it may stand in a message: on one line, and not without end."""
    return "".join(char if char.isprintable() else "?" for char in text)[:LONGEST_NAME]


def _invalid(cure: str) -> BrokerDoubt:
    return BrokerDoubt(Reason.BROKER_URL_INVALID, f"the broker URL cannot be used: {cure}")
