"""Who held the Lease when, and who wrote meanwhile: read from the audit log of the API server.

log = LeaseLog(control_plane, ["first-operator", "second-operator"])     # users, each of one operator of one Lease
log.late_writes(), log.holder_at(time.time())
"""

import bisect
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from tests.cluster.control_plane import ControlPlane

READS: Final = frozenset({"get", "list", "watch"})
DURATION_SECONDS: Final = 15.0
"""Of the operator's Lease: so long after its last renewal nobody else can hold it."""


class LeaseLog:
    """What these users had the API server do, up to now."""

    def __init__(self, control_plane: ControlPlane, users: Collection[str]) -> None:
        done = [event for event in control_plane.audit_events() if _is_write_of(event, users)]
        self._leases = sorted((_came(event), _user(event)) for event in done if _resource(event) == "leases")
        self._others = [event for event in done if _resource(event) != "leases"]

    def holder_at(self, moment: float) -> str:
        """Who had written the Lease last, if that was not longer ago than it lasts; empty where nobody had."""
        found = bisect.bisect(self._leases, (moment, "~")) - 1
        if found < 0 or moment - self._leases[found][0] > DURATION_SECONDS:
            return ""
        return self._leases[found][1]

    @property
    def holders(self) -> list[str]:
        """Who held it, one after the other."""
        names = [name for _, name in self._leases]
        return [name for number, name in enumerate(names) if number == 0 or names[number - 1] != name]

    @property
    def writes(self) -> int:
        """How much else they wrote."""
        return len(self._others)

    def late_writes(self) -> list[str]:
        """What came to the API server, and was done, while another held the Lease, or nobody did."""
        return [
            f"{_user(event)}: {event['verb']} {_resource(event)} {event['objectRef'].get('name')}"
            for event in self._others
            if self.holder_at(_came(event)) != _user(event)
        ]


def _is_write_of(event: Mapping[str, Any], users: Collection[str]) -> bool:
    is_done = event.get("responseStatus", {}).get("code", 500) < 300
    return _user(event) in users and event["verb"] not in READS and "objectRef" in event and is_done


def _user(event: Mapping[str, Any]) -> str:
    return str(event["user"].get("username"))


def _resource(event: Mapping[str, Any]) -> str:
    return str(event["objectRef"]["resource"])


def _came(event: Mapping[str, Any]) -> float:
    """When the request came, Unix seconds."""
    return datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()
