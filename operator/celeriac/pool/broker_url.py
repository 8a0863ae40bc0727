"""What is wrong with a broker URL, in words that never repeat it: it may hold a password."""

import re
from typing import Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from celeriac.pool.url_options import option_problem

SCHEMES: Final = ("redis", "rediss", "sentinel", "redis+socket")
SENTINEL: Final = "sentinel"
MAX_LENGTH: Final = 1024

_CLUSTER = re.compile(r"[a-z+-]*cluster[a-z+-]*")
_SEPARATOR: Final = ";"  # of a list of URLs; kombu splits before it reads one, so a password cannot hold it


def scheme_of(url: str) -> str:
    """What stands before ://, or nothing."""
    scheme, found, _ = url.partition("://")
    return scheme if found else ""


def names_cluster(scheme: str) -> bool:
    """Whether it is one of the schemes that other programs have for a Redis Cluster; Celery has none."""
    return _CLUSTER.fullmatch(scheme) is not None


def broker_url_problem(url: str) -> str | None:
    """Why the URL cannot be used, with the cure, or None. URLs are read as kombu reads them (kombu.utils.url)."""
    url = url.strip()  # a Secret made from a file often ends with a line end; kombu does not mind
    scheme = scheme_of(url)
    if names_cluster(scheme):
        return "names a Redis Cluster, for which Celery (kombu) has no transport: use a single Redis or Redis Sentinel"
    if scheme not in SCHEMES:
        return "must begin with redis://, rediss://, sentinel:// or redis+socket://"
    if len(url) > MAX_LENGTH:
        return f"must not be longer than {MAX_LENGTH} characters"
    if re.search(r"\s", url):
        return "must not hold spaces or line ends: remove them (in a password write a space as %20)"
    if scheme == SENTINEL:
        return _sentinel_problem(url.split(_SEPARATOR))
    if scheme == "redis+socket":
        return _socket_problem(url)
    return _redis_problem(url, "redis://HOST:PORT/DB")


def broker_url_names_credentials(url: str) -> bool:
    """Whether the URL names a user or a password; such a URL belongs into a Secret."""
    return "@" in url or re.search(r"[?&](username|password)=", url) is not None


def _sentinel_problem(urls: list[str]) -> str | None:
    example = "sentinel://HOST:26379/DB;sentinel://HOST:26379/DB"
    if any(scheme_of(url) != SENTINEL for url in urls):
        return f"must have sentinel:// before each host: write {example}"
    return next(filter(None, (_redis_problem(url, example) for url in urls)), None)


def _redis_problem(url: str, example: str) -> str | None:
    if _SEPARATOR in url:
        return "must name one Redis: several hosts, parted by ; are for sentinel:// only (in a password write ; as %3B)"
    parts = _split(url)
    if parts is None:
        return (
            f"cannot be taken apart: write {example} with a number for the port, and in a password"
            " % as %25, / as %2F, ? as %3F, # as %23, @ as %40, [ as %5B and ] as %5D"
        )
    if not parts.hostname:
        return f"names no host: write {example}"
    return _database_problem(parts.path.removeprefix("/"), example) or option_problem(scheme_of(url), parts.query)


def _socket_problem(url: str) -> str | None:
    example = "redis+socket:///PATH?virtual_host=DB"
    parts = _split(url)
    if parts is None or parts.hostname or len(parts.path) < 2:
        return f"must name the socket by its absolute path: write {example}"
    database = parse_qs(parts.query).get("virtual_host", [""])[-1]
    return _database_problem(database, example) or option_problem(scheme_of(url), parts.query)


def _database_problem(text: str, example: str) -> str | None:
    number = unquote(text)
    if number and not (number.isascii() and number.isdigit()):
        return f"must name the database by its number: write {example}"
    return None


def _split(url: str) -> SplitResult | None:
    """The parts as kombu sees them, or None where a character of the password or the port confuses them."""
    try:
        parts = urlsplit("http://" + url.partition("://")[2])
        _ = parts.port
    except ValueError:
        return None
    confused = "@" in parts.path + parts.query + parts.fragment or parts.fragment
    return None if confused else parts
