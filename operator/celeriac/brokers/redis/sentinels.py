"""The Sentinels of a master: asked with what they themselves ask for, and what each of them said is kept."""

import re
from typing import Any, Final

from redis.asyncio import ConnectionPool, Redis, Sentinel
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import AuthenticationError, InvalidResponse, NoPermissionError, RedisError

from celeriac.api.reasons import Reason
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.redis.parser import NO_REDIS
from celeriac.brokers.redis.shapes import ODD

MOST_NAMES: Final = 5
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,40}")
"""Other names of masters are not repeated: anybody may run the Sentinel."""


class NoMaster(MasterNotFoundError):
    """No Sentinel named a master that is up.

    errors  what Sentinels raised that could not be asked
    known   the masters that those which answered watch, and whether the wanted one is up
    """

    def __init__(self, name: str, errors: list[RedisError], known: dict[str, bool]) -> None:
        super().__init__(f"no master of the name {name!r}")
        self.name, self.errors, self.known = name, errors, known


class Sentinels(Sentinel):
    """redis-py's, whose own error tells of Sentinels that could not be asked in words only."""

    def __init__(self, nodes: list[tuple[str, int]], asking: dict[str, Any], **options: Any) -> None:
        """`asking` is how a Sentinel is connected to, `options` how the master is."""
        super().__init__([], **options)  # type: ignore[no-untyped-call]
        self.sentinels = [Redis.from_pool(ConnectionPool(host=host, port=port, **asking)) for host, port in nodes]

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Address of the master. Raises NoMaster, or what a Sentinel answered that is none."""
        errors: list[RedisError] = []
        known: dict[str, bool] = {}
        for place, sentinel in enumerate(self.sentinels):
            try:
                masters: Any = await sentinel.sentinel_masters()
                state = masters.get(service_name)
                if state and self.check_master_state(state, service_name):
                    self.sentinels[0], self.sentinels[place] = sentinel, self.sentinels[0]
                    return str(state["ip"]), int(state["port"])
                known |= {name: name != service_name for name in masters}
            except (AuthenticationError, NoPermissionError) as error:
                errors.insert(0, error)  # the next one asks for the same
            except RedisError as error:
                errors.append(error)
            except ODD:  # other masters than any Sentinel tells of
                errors.append(InvalidResponse(NO_REDIS))
        raise NoMaster(service_name, errors, known)


def no_master_doubt(error: NoMaster, where: str) -> BrokerDoubt | None:
    """The doubt for what Sentinels said; None where none answered, and the first error has to tell."""
    first = error.errors[0] if error.errors else None
    if isinstance(first, AuthenticationError):
        return BrokerDoubt(
            Reason.BROKER_AUTHENTICATION_FAILED,
            f"{where}: the Sentinel itself {_asks(first)}: give it in spec.broker.sentinel.passwordFrom (and"
            " usernameFrom); the password in the URL is the master's",
        )
    if isinstance(first, NoPermissionError):
        return BrokerDoubt(
            Reason.BROKER_PERMISSION_DENIED,
            f"{where}: the Sentinel's user may not ask for masters: grant +sentinel|masters to the user of"
            " spec.broker.sentinel.usernameFrom",
        )
    if error.name in error.known:
        return BrokerDoubt(
            Reason.BROKER_CONNECTION_FAILED,
            f"{where}: Sentinel watches it and holds it for down: start that Redis, or wait for the failover",
        )
    if error.known:
        plain = sorted(filter(_PLAIN_NAME.fullmatch, error.known))[:MOST_NAMES]
        others = f", but {', '.join(plain)}" if plain else ""
        return BrokerDoubt(
            Reason.BROKER_CONNECTION_FAILED,
            f"{where}: Sentinel watches no master of that name{others}: correct spec.broker.sentinelMaster",
        )
    if first is None:
        return BrokerDoubt(
            Reason.BROKER_CONNECTION_FAILED,
            f"{where}: Sentinel watches no master at all: give it one (sentinel monitor), or correct the address",
        )
    return None


def in_words_of_sentinel(doubt: BrokerDoubt) -> BrokerDoubt:
    """The doubt for a Sentinel that cannot be reached: it has fields of its own."""
    words = str(doubt).replace("spec.broker.tls", "spec.broker.sentinel.tls")
    return BrokerDoubt(doubt.reason, words.replace("needs rediss://", "needs spec.broker.sentinel.tls"))


def _asks(error: AuthenticationError) -> str:
    """Whether it got no password or a wrong one."""
    return "asks for a password" if "required" in str(error) else "refuses the user or password"
