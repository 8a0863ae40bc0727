"""What may stand behind the ? of a broker URL, as kombu reads it, and where all else belongs.

kombu hands each option to its connection, which fails for one that it does not know (TypeError); those of a unix socket
it hands to redis-py as texts, which fails later or ignores them (kombu 5.3 to 5.7: utils/url.py, connection.py,
transport/redis.py).
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

TAKEN: Final = re.compile(r"ssl_[a-z_]+|connect_timeout|heartbeat|insist|login_method")
"""By redis://, rediss:// and sentinel://."""
TAKEN_BY_A_SOCKET: Final = re.compile(r"virtual_host|client_name")

_PLACE: Final = "write it before the host, as redis://USER:PASSWORD@HOST:PORT/DB"
_NUMBER: Final = "write the number of the database behind the host, as redis://HOST:PORT/DB (of a socket: virtual_host)"
_APP: Final = "set it in broker_transport_options of the app"
_CURES: Final[Mapping[str, str]] = {
    "db": _NUMBER,
    "virtual_host": _NUMBER,
    "username": _PLACE,
    "userid": _PLACE,
    "password": _PLACE,
    "global_keyprefix": f"{_APP}, and spec.broker.keyPrefix",
    "sep": f"{_APP}, and spec.broker.separator",
    "priority_steps": f"{_APP}, and spec.broker.prioritySteps",
    "master_name": f"{_APP}, and spec.broker.sentinelMaster",
    "sentinel_kwargs": "set spec.broker.sentinel",
    "credential_provider": "it makes passwords that last minutes, in a process of the app alone, and the operator reads"
    " the queues, too: give both a user whose password stays",
}


def option_problem(scheme: str, query: str) -> str | None:
    """The first option that a worker or the operator cannot use, with the cure, or None; never with its value."""
    taken = TAKEN_BY_A_SOCKET if scheme == "redis+socket" else TAKEN
    for name, _ in parse_qsl(query, keep_blank_values=True):
        if taken.fullmatch(name) is None:
            shown = name if re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", name) else "of that name"
            return f"must not have the option {shown}: {_CURES.get(name, f'{_APP}, or drop it')}"
    return None
