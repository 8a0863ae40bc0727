"""What the operator must be allowed to do where it serves pools; the chart's role grants the same."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

POOLS: Final = "celeriac.dev/celeryworkerpools"
RIGHTS: Final = {
    POOLS: ("get", "list", "watch"),
    f"{POOLS}/status": ("patch",),
    f"{POOLS}/finalizers": ("update",),
    "apps/deployments": ("get", "list", "watch", "create", "patch"),
    "apps/deployments/scale": ("get", "patch"),
    "apps/replicasets": ("get", "list"),
    "apps/replicasets/scale": ("patch",),
    "/pods": ("get", "list", "watch", "patch"),
    "/configmaps": ("get", "list", "create", "delete"),
    "/secrets": ("get",),
    "/events": ("create", "patch"),
}
"""Verbs by GROUP/RESOURCE or GROUP/RESOURCE/SUBRESOURCE."""


class Right(NamedTuple):
    """One verb on one kind; the namespace is empty for all of them."""

    resource: str
    verb: str
    namespace: str

    def review(self, user: str) -> dict[str, Any]:
        """The question whether a user has it, as a SubjectAccessReview."""
        group, resource, *rest = self.resource.split("/")
        attributes = {"group": group, "resource": resource, "verb": self.verb, "namespace": self.namespace}
        attributes |= {"subresource": rest[0]} if rest else {}
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user, "groups": groups(user), "resourceAttributes": attributes},
        }

    def __str__(self) -> str:
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource.removeprefix('/')}{where}"


def needed(namespaces: list[str], *, selects: bool = False) -> Iterator[Right]:
    """All that an operator needs which serves these namespaces; none: the whole cluster.

    `selects`: it finds its namespaces by their labels.
    """
    if selects:
        yield from (Right("/namespaces", verb, "") for verb in ("list", "watch"))
    for namespace in namespaces or [""]:
        for resource, verbs in RIGHTS.items():
            yield from (Right(resource, verb, namespace) for verb in verbs)


def account(namespace: str, name: str) -> str:
    """The user that a ServiceAccount is."""
    return f"system:serviceaccount:{namespace}:{name}"


def groups(user: str) -> list[str]:
    """The groups that a ServiceAccount's user is in."""
    namespace = user.split(":")[2]
    return ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
