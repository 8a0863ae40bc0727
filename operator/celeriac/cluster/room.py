"""Whether a Pod waits for room that other Pods take up: on the nodes, or within a quota.

A Pod that no node could take even if it were empty, or that a quota could never admit, is not helped by fewer others.
"""

import re
from decimal import Decimal, InvalidOperation
from typing import Final

from celeriac.cluster.body import Body

_TAKEN: Final = re.compile(
    r"Insufficient |Too many pods|free ports|anti-affinity rules|topology spread constraints|exceed max volume count"
    r"|in-use by another pod|cannot allocate all claims",
    re.IGNORECASE,
)
"""What the scheduler's plugins say of a node that other Pods have filled (pkg/scheduler/framework/plugins)."""
_PREEMPTION: Final = "preemption: "
_NOT_HELPFUL: Final = re.compile(r"(\d+) Preemption is not helpful")
_NODES: Final = re.compile(r"\d+/(\d+) nodes are available")

_QUOTA: Final = re.compile(r"exceeded quota: .*?requested: (.*?), used: .*, limited: (.*)", re.DOTALL)
"""As the admission plugin says it (apiserver/pkg/admission/plugin/resourcequota)."""
_SUFFIXES: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY: Final = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_QUANTITY: Final = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([A-Za-z]*)", re.ASCII)


def lacks_room(status: Body) -> bool:
    """Whether the scheduler found no room for a Pod that fewer other Pods would give it."""
    for condition in status.get("conditions") or ():
        if (condition["type"], condition["status"], condition.get("reason")) == (
            "PodScheduled",
            "False",
            "Unschedulable",
        ):
            return _others_are_in_the_way(condition.get("message") or "")
    return False


def _others_are_in_the_way(message: str) -> bool:
    """Read the scheduler's words. On how many nodes fewer Pods would help is in what it says of preemption."""
    why, _, preemption = message.partition(_PREEMPTION)
    if _TAKEN.search(why) is None:
        return False
    nodes, hopeless = _NODES.search(why), _NOT_HELPFUL.search(preemption)
    return nodes is None or hopeless is None or int(hopeless[1]) < int(nodes[1])


def is_full_quota(message: str) -> bool:
    """Whether a Pod was refused by a quota that would admit it were it alone."""
    match = _QUOTA.search(message)
    if match is None:
        return False
    requested, limited = _resources(match[1]), _resources(match[2])
    return all(amount <= limited[name] for name, amount in requested.items() if name in limited)


def _resources(text: str) -> dict[str, Decimal]:
    """Read a list like pods=1,requests.cpu=700m; what cannot be read is left out."""
    found = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        amount = _amount(value)
        if amount is not None:
            found[name] = amount
    return found


def _amount(text: str) -> Decimal | None:
    """A Kubernetes quantity (apimachinery/pkg/api/resource), None where it is none."""
    match = _QUANTITY.fullmatch(text)
    if match is None or not (match[2] in _SUFFIXES or match[2] in _BINARY):
        return None
    try:
        number = Decimal(match[1])
    except InvalidOperation:
        return None
    return number * (Decimal(1024) ** _BINARY[match[2]] if match[2] in _BINARY else Decimal(10) ** _SUFFIXES[match[2]])
