"""How a broker is named in metrics: never with a credential."""

import re
from typing import Final
from urllib.parse import urlsplit

UNREADABLE_BROKER: Final = "unreadable"
LONGEST: Final = 1024
"""Characters of a label: each of a broker's series has it."""

_NEXT_SERVER = re.compile(r";(?=[a-z+]+://)")
_ENDPOINT = re.compile(r"(?:[\w.-]+|\[[\da-fA-F:.]+\])?(?::\d+)?(?:/[\w./-]*)?")


def broker_label(url: str) -> str:
    """The host, port and path of a broker URL: never its user, password or query.

    Several Sentinels are joined by commas. Whatever cannot be told apart from a credential (an `@` behind the host, a
    URL that does not parse), and what is longer than any broker, becomes "unreadable".
    """
    label = ",".join(_endpoint(server) for server in _NEXT_SERVER.split(url))
    return label if len(label) <= LONGEST else UNREADABLE_BROKER


def _endpoint(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return UNREADABLE_BROKER
    if not parts.scheme or "@" in parts.path + parts.query + parts.fragment:
        return UNREADABLE_BROKER
    endpoint = parts.netloc.rpartition("@")[2] + parts.path
    return endpoint if endpoint and _ENDPOINT.fullmatch(endpoint) else UNREADABLE_BROKER
