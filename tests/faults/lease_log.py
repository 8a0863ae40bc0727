"""Who held the Lease when, and who wrote meanwhile: read from the audit log of the API server.

late_writes(control_plane, {"first-operator", "second-operator"})     # users of one Lease, each of one operator
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

from tests.cluster.control_plane import ControlPlane

READS = frozenset({"get", "list", "watch"})
DURATION_SECONDS = 15.0
"""Of the operator's Lease: so long after its last renewal nobody else can hold it."""


def late_writes(control_plane: ControlPlane, users: Collection[str]) -> list[str]:
    """The writes that reached the API server, and were done, without the Lease of their writer.

    A write is in order if the last Lease that was written before it came, by any of the users, is its own user's, and
    not older than the Lease lasts.
    """
    events = sorted(_writes(control_plane, users), key=_came)
    late, holder, since = [], "", 0.0
    for event in events:
        user, resource = event["user"]["username"], event["objectRef"]["resource"]
        if resource == "leases":
            holder, since = user, _came(event)
        elif user != holder or _came(event) - since > DURATION_SECONDS:
            age = f"{_came(event) - since:.1f} s after {holder} wrote the Lease"
            late.append(f"{user}: {event['verb']} {resource} {event['objectRef'].get('name')}, {age}")
    return late


def writes(control_plane: ControlPlane, users: Collection[str]) -> int:
    """How many writes of these users were done, those of Leases aside."""
    return sum(event["objectRef"]["resource"] != "leases" for event in _writes(control_plane, users))


def _writes(control_plane: ControlPlane, users: Collection[str]) -> Iterator[Mapping[str, Any]]:
    for event in control_plane.audit_events():
        done = event["responseStatus"].get("code", 0) < 300 if "responseStatus" in event else False
        if event["user"].get("username") in users and event["verb"] not in READS and "objectRef" in event and done:
            yield event


def _came(event: Mapping[str, Any]) -> float:
    """When the request came, Unix seconds."""
    return datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()
