"""Where the API server keeps the kinds of objects that the operator touches."""

from typing import NamedTuple
from urllib.parse import quote

from celeriac.names import API_VERSION, KIND, PLURAL


class Resource(NamedTuple):
    """One namespaced resource: `api_version` as in a manifest, `plural` as in a URL."""

    api_version: str
    plural: str

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """The URL path of the collection, or of one object; namespace None is all namespaces."""
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
PODS = Resource("v1", "pods")
SECRETS = Resource("v1", "secrets")

_BY_KIND = {
    KIND: CELERY_WORKER_POOLS,
    "ConfigMap": CONFIG_MAPS,
    "Deployment": DEPLOYMENTS,
}


def resource_of(api_version: str, kind: str) -> Resource:
    """The resource of a manifest. Raises ValueError for a kind that the operator does not apply."""
    resource = _BY_KIND.get(kind)
    if resource is None or resource.api_version != api_version:
        raise ValueError(f"no resource is known for {api_version} {kind}; add it to celeriac.cluster.paths")
    return resource
