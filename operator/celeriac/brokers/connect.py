"""From an address to the broker that speaks its scheme."""

from celeriac.api.reasons import Reason
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.allowance import Allowance
from celeriac.brokers.dialing.dial import Dialer
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import Broker
from celeriac.brokers.redis import url
from celeriac.brokers.redis.broker import RedisBroker
from celeriac.pool.broker_url import SCHEMES, names_cluster, scheme_of


def place_of(address: BrokerAddress) -> str:
    """Which broker an address leads to, in words without credentials: the same for each user and password.

    Raises BrokerDoubt (InvalidURL, UnsupportedBroker), as `connect` does.
    """
    _require_known(address)
    return url.parse(address).place


def connect(address: BrokerAddress, dialer: Dialer, allowance: Allowance | None = None) -> Broker:
    """Return the broker of an address. The connection is made by the first reading, through the `dialer`.

    `allowance` is what it shares with all others of this process; without it, a person waits for each answer.

    Raises BrokerDoubt (InvalidURL, UnsupportedBroker, TlsFailed, BrokerNotAllowed) where no reading could ever succeed.
    """
    _require_known(address)
    return RedisBroker(url.parse(address), dialer, address.tls, allowance=allowance)


def _require_known(address: BrokerAddress) -> None:
    scheme = scheme_of(address.url.strip())
    if scheme in SCHEMES:
        return
    if not scheme:
        raise BrokerDoubt(
            Reason.BROKER_URL_INVALID,
            "the broker URL has no scheme: write redis://HOST:6379/0, rediss://, sentinel:// or redis+socket://",
        )
    if names_cluster(scheme):
        raise BrokerDoubt(
            Reason.BROKER_UNSUPPORTED,
            "Celery has no transport for Redis Cluster: use one Redis, or Redis with Sentinel (sentinel://)",
        )
    raise BrokerDoubt(
        Reason.BROKER_UNSUPPORTED,
        f"this kind of broker URL is not supported: use one of {', '.join(name + '://' for name in SCHEMES)}",
    )
