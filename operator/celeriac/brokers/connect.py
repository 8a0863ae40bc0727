"""From an address to the broker that speaks its scheme."""

from typing import Final

from celeriac import reasons
from celeriac.brokers.redis import url
from celeriac.brokers.redis.broker import RedisBroker
from celeriac.brokers.types import Broker, BrokerAddress, BrokerDoubt

_CLUSTER_SCHEMES: Final = frozenset({"redis+cluster", "rediss+cluster", "rediscluster", "redisscluster"})


def connect(address: BrokerAddress) -> Broker:
    """Return the broker of an address. The connection is made by the first reading.

    Raises BrokerDoubt (InvalidURL, UnsupportedBroker, TlsFailed) where no reading could ever succeed.
    """
    scheme, found, _ = address.url.strip().partition("://")
    if scheme in url.SCHEMES and found:
        return RedisBroker(url.parse(address), address.tls)
    if not found:
        raise BrokerDoubt(
            reasons.BROKER_URL_INVALID,
            "the broker URL has no scheme: write redis://HOST:6379/0, rediss://, sentinel:// or redis+socket://",
        )
    if scheme in _CLUSTER_SCHEMES:
        raise BrokerDoubt(
            reasons.BROKER_UNSUPPORTED,
            "Celery has no transport for Redis Cluster: use one Redis, or Redis with Sentinel (sentinel://)",
        )
    raise BrokerDoubt(
        reasons.BROKER_UNSUPPORTED,
        f"this kind of broker URL is not supported: use one of {', '.join(name + '://' for name in url.SCHEMES)}",
    )
