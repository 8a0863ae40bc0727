"""Where the API server keeps the kinds of objects that the operator touches."""

from typing import NamedTuple
from urllib.parse import quote

from celeriac.api.names import API_VERSION, PLURAL


class Resource(NamedTuple):
    """One resource: `api_version` as in a manifest, `plural` as in a URL."""

    api_version: str
    plural: str

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """The URL path of the collection, or of one object; namespace None is all namespaces, or none."""
        parts = ["/apis" if "/" in self.api_version else "/api", self.api_version]
        if namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        parts += [quote(part, safe="") for part in (name, subresource) if part]
        return "/".join(parts)


CELERY_WORKER_POOLS = Resource(API_VERSION, PLURAL)
CONFIG_MAPS = Resource("v1", "configmaps")
DEPLOYMENTS = Resource("apps/v1", "deployments")
EVENTS = Resource("events.k8s.io/v1", "events")
LEASES = Resource("coordination.k8s.io/v1", "leases")
NODES = Resource("v1", "nodes")
PODS = Resource("v1", "pods")
REPLICA_SETS = Resource("apps/v1", "replicasets")
SECRETS = Resource("v1", "secrets")
