"""Where the API server keeps the kinds of objects that the operator touches."""

from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import quote

from celeriac.api.names import API_VERSION, PLURAL, REQUESTS_PLURAL
from celeriac.api.words import is_whole
from celeriac.cluster.errors import Invalid


class Resource(NamedTuple):
    """One resource: `api_version` as in a manifest, `plural` as in a URL."""

    api_version: str
    plural: str

    def collection(self, namespace: str | None) -> str:
        """The URL path of all objects of a namespace; None: of all namespaces, or of a kind that has none.

        Raises Invalid for a name that would lead elsewhere, as `path` does.
        """
        parts = ["/apis" if "/" in self.api_version else "/api", self.api_version]
        if namespace is not None:
            parts += ["namespaces", _segment(namespace)]
        return "/".join([*parts, self.plural])

    def path(self, namespace: str | None, name: str, subresource: str = "") -> str:
        """The URL path of one object, or of a subresource of it."""
        parts = [self.collection(namespace), _segment(name)]
        return "/".join([*parts, _segment(subresource)] if subresource else parts)


def _segment(name: str) -> str:
    """One part of a path, whatever is in the name: neither none, nor one that means another place."""
    if name in ("", ".", "..") or not is_whole(name):
        raise Invalid(HTTPStatus.UNPROCESSABLE_ENTITY, "InvalidName", f"no object is called {name!a}: not asked for")
    return quote(name, safe="")


CELERY_POOL_REQUESTS = Resource(API_VERSION, REQUESTS_PLURAL)
CELERY_WORKER_POOLS = Resource(API_VERSION, PLURAL)
CONFIG_MAPS = Resource("v1", "configmaps")
DEPLOYMENTS = Resource("apps/v1", "deployments")
EVENTS = Resource("v1", "events")
LEASES = Resource("coordination.k8s.io/v1", "leases")
NAMESPACES = Resource("v1", "namespaces")
NODES = Resource("v1", "nodes")
PODS = Resource("v1", "pods")
REPLICA_SETS = Resource("apps/v1", "replicasets")
SECRETS = Resource("v1", "secrets")
SUBJECT_ACCESS_REVIEWS = Resource("authorization.k8s.io/v1", "subjectaccessreviews")
TOKEN_REVIEWS = Resource("authentication.k8s.io/v1", "tokenreviews")
