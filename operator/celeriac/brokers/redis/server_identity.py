"""Whether the server that answers is the one to be believed: a master, no cluster, and not one that just restarted."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from celeriac.api.reasons import Reason
from celeriac.brokers.doubt import BrokerDoubt

RESTART_HOLD_SECONDS: Final = 10.0


class ServerIdentity:
    """Remembers the server's run_id. After it changed the queues may be empty only because Redis lost them, so nothing
    is believed for `hold_seconds`: time for workers and producers to come back and restore what they hold.
    """

    def __init__(self, where: str, clock: Callable[[], float], hold_seconds: float = RESTART_HOLD_SECONDS) -> None:
        """`clock` is monotonic, in seconds."""
        self._where = where
        self._clock = clock
        self._hold_seconds = hold_seconds
        self._run_id: str | None = None
        self._hold_until = float("-inf")

    def check(self, server: Mapping[str, Any] | None, replication: Mapping[str, Any] | None) -> None:
        """Judge the replies to INFO server and INFO replication; a refused INFO says nothing and is no doubt.

        Raises BrokerDoubt (UnsupportedBroker, ReplicaNotMaster).
        """
        if server is not None:
            self._check_server(server)
        if replication is not None and replication.get("role") == "slave":
            raise BrokerDoubt(
                Reason.BROKER_IS_REPLICA,
                f"{self._where} is a replica, whose queues may be behind: let the broker URL name the master, or use"
                " sentinel://",
            )

    def check_settled(self) -> None:
        """Raise BrokerDoubt (Restarted) while the hold after a restart lasts."""
        if self._clock() < self._hold_until:
            raise BrokerDoubt(
                Reason.BROKER_RESTARTED,
                f"{self._where} restarted or was replaced, so its queues may have been lost: replicas are held for"
                f" {self._hold_seconds:.0f} s; send again what is missing",
            )

    def _check_server(self, server: Mapping[str, Any]) -> None:
        if server.get("redis_mode") == "sentinel":
            raise BrokerDoubt(
                Reason.BROKER_URL_INVALID,
                f"{self._where}: what answers there is a Sentinel: write sentinel:// before its address, and name the"
                " master in spec.broker.sentinelMaster",
            )
        if server.get("redis_mode") == "cluster":
            raise BrokerDoubt(
                Reason.BROKER_UNSUPPORTED,
                f"{self._where} is a Redis Cluster, for which Celery has no transport: use one Redis, or Redis with"
                " Sentinel",
            )
        run_id = server.get("run_id")
        if run_id and self._run_id not in (None, run_id):
            self._hold_until = self._clock() + self._hold_seconds
        self._run_id = run_id or self._run_id
