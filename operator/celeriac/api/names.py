"""The names of the API. They stand in objects that outlive the operator's versions: none of them ever changes."""

import re
from typing import Final

GROUP: Final = "celeriac.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "CeleryWorkerPool"
PLURAL: Final = "celeryworkerpools"
REQUEST_KIND: Final = "CeleryPoolRequest"
REQUESTS_PLURAL: Final = "celerypoolrequests"
POOL_LABEL: Final = f"{GROUP}/pool"
"""Label of all that belongs to a pool: the pool's name."""
AGENT_LABEL: Final = f"{GROUP}/agent"
"""Label of a ConfigMap with the agent, and of the Pods that mount it: the digest of what is in it."""
AGENT_VOLUME: Final = "celeriac-agent"
"""Name of the volume through which a Pod has the agent; the ConfigMap's is this, a hyphen and the digest."""
DRAIN_ANNOTATION: Final = f"{GROUP}/drain"
"""Annotation of a Pod that is to end: the token that its worker must answer with."""
BROKER_ANNOTATION: Final = f"{GROUP}/broker"
"""Annotation of a Pod: where its broker is found, as JSON without credentials."""
DELETION_COST_ANNOTATION: Final = "controller.kubernetes.io/pod-deletion-cost"
"""Kubernetes' own: the ReplicaSet controller stops the Pod with the lowest first, after those that are not ready."""
SECRET_ANNOTATION: Final = f"{GROUP}/broker-secret"
"""Annotation of a Pod: a digest that changes with the broker's Secrets, so that their change is a rollout."""
REVISION_ANNOTATION: Final = "deployment.kubernetes.io/revision"
"""Kubernetes' own: a Deployment and the ReplicaSet of its present template carry the same."""
OPERATOR_ANNOTATION: Final = f"{GROUP}/operator"
"""Annotation of the operator's Lease: the version that holds it, or held it last."""
NAMESPACES_ANNOTATION: Final = f"{GROUP}/namespaces"
"""Annotation of the operator's Lease: the namespaces that are served, with commas; `*` for the whole cluster."""
NAMESPACE_SELECTOR_ANNOTATION: Final = f"{GROUP}/namespace-selector"
"""Annotation of the operator's Lease: the label selector of the namespaces that are served; empty: no selector."""
SELECTOR_ANNOTATION: Final = f"{GROUP}/selector"
"""Annotation of the operator's Lease: the label selector of the pools that are served; empty: all of them."""
BROKERS_ANNOTATION: Final = f"{GROUP}/brokers"
"""Annotation of the operator's Lease: digests of the brokers that pools have named, while Pods may still name them."""
LEASE_NAME: Final = "celeriac"
"""Of the operator's Lease where nobody chose another."""
WORKER_CONTAINER: Final = "worker"
"""Name of the container in a Pod that runs the worker."""

DNS_LABEL_LENGTH: Final = 63
DNS_NAME_LENGTH: Final = 253
_LABEL: Final = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_DNS_LABEL: Final = re.compile(_LABEL)
_DNS_NAME: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*")


def is_dns_label(text: str) -> bool:
    """Whether a namespace may be called so (RFC 1123 label)."""
    return len(text) <= DNS_LABEL_LENGTH and _DNS_LABEL.fullmatch(text) is not None


def is_dns_name(text: str) -> bool:
    """Whether most other objects may be called so (RFC 1123 subdomain)."""
    return len(text) <= DNS_NAME_LENGTH and _DNS_NAME.fullmatch(text) is not None
