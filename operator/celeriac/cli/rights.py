"""What the operator must be allowed to do where it serves pools; the chart's role grants the same."""

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

POOLS: Final = "celeriac.dev/celeryworkerpools"
REQUESTS: Final = "celeriac.dev/celerypoolrequests"
SECRETS: Final = "/secrets"
RIGHTS: Final = {
    POOLS: ("get", "list", "watch"),
    f"{POOLS}/status": ("patch",),
    f"{POOLS}/finalizers": ("update",),
    REQUESTS: ("list", "watch", "delete"),
    f"{REQUESTS}/status": ("patch",),
    "apps/deployments": ("get", "list", "watch", "create", "patch"),
    "apps/deployments/scale": ("get", "patch"),
    "apps/replicasets": ("get", "list"),
    "apps/replicasets/scale": ("patch",),
    "/pods": ("get", "list", "watch", "patch"),
    "/configmaps": ("get", "list", "create", "delete"),
    SECRETS: ("get",),
    "/events": ("create", "patch"),
}
"""Verbs by GROUP/RESOURCE or GROUP/RESOURCE/SUBRESOURCE."""


ASKING: Final = {
    POOLS: ("get", "list", "patch"),
    REQUESTS: ("create", "get", "patch", "delete"),
    "/pods": ("get", "list", "delete"),
    "/pods/log": ("get",),
    "/events": ("list",),
}
"""What whoever types `kubectl celery` needs in a namespace."""


class Right(NamedTuple):
    """One verb on one kind; the namespace is empty for all of them."""

    resource: str
    verb: str
    namespace: str

    def review(self, user: str) -> dict[str, Any]:
        """The question whether a user has it, as a SubjectAccessReview."""
        spec = {"user": user, "groups": groups(user), "resourceAttributes": self._attributes}
        return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}

    def own_review(self) -> dict[str, Any]:
        """The question whether whoever asks has it."""
        spec = {"resourceAttributes": self._attributes}
        return {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}

    @property
    def _attributes(self) -> dict[str, str]:
        group, resource, *rest = self.resource.split("/")
        attributes = {"group": group, "resource": resource, "verb": self.verb, "namespace": self.namespace}
        return attributes | ({"subresource": rest[0]} if rest else {})

    def __str__(self) -> str:
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource.removeprefix('/')}{where}"


def needed(namespaces: list[str], *, selects: bool = False, homes: Iterable[str] = ()) -> Iterator[Right]:
    """All that an operator needs which serves these namespaces; none: the whole cluster.

    `selects`: it finds its namespaces by their labels. `homes`: where its pools live; in the whole cluster,
    Secrets need to be open there alone.
    """
    if selects:
        yield from (Right("/namespaces", verb, "") for verb in ("list", "watch"))
    for namespace in namespaces or [""]:
        for resource, verbs in RIGHTS.items():
            places = homes if resource == SECRETS and not namespaces else (namespace,)
            yield from (Right(resource, verb, place) for place in places for verb in verbs)


def asking(namespace: str) -> Iterator[Right]:
    """All that whoever types `kubectl celery` needs in a namespace."""
    for resource, verbs in ASKING.items():
        yield from (Right(resource, verb, namespace) for verb in verbs)


def account(namespace: str, name: str) -> str:
    """The user that a ServiceAccount is."""
    return f"system:serviceaccount:{namespace}:{name}"


def groups(user: str) -> list[str]:
    """The groups that a ServiceAccount's user is in."""
    namespace = user.split(":")[2]
    return ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
