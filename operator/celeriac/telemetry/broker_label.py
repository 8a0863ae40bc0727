"""How a broker is named in metrics: never with a credential."""

import re
from typing import Final
from urllib.parse import urlsplit

UNREADABLE_BROKER: Final = "unreadable"

_NEXT_SERVER = re.compile(r";(?=[a-z+]+://)")
_ENDPOINT = re.compile(r"(?:[\w.-]+|\[[\da-fA-F:.]+\])?(?::\d+)?(?:/[\w./-]*)?")


def broker_label(url: str) -> str:
    """The host, port and path of a broker URL: never its user, password or query.

    Several Sentinels are joined by commas. Whatever cannot be told apart from a credential (an `@` behind the host, a
    URL that does not parse) becomes "unreadable".
    """
    return ",".join(_endpoint(server) for server in _NEXT_SERVER.split(url))


def _endpoint(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return UNREADABLE_BROKER
    if not parts.scheme or "@" in parts.path + parts.query + parts.fragment:
        return UNREADABLE_BROKER
    endpoint = parts.netloc.rpartition("@")[2] + parts.path
    return endpoint if endpoint and _ENDPOINT.fullmatch(endpoint) else UNREADABLE_BROKER
