"""The Deployment of a pool's workers."""

from collections.abc import Mapping
from typing import Any

from celeriac.api.names import AGENT_LABEL, BROKER_ANNOTATION, SECRET_ANNOTATION
from celeriac.pool.broker import broker_reference
from celeriac.pool.model import WorkerPool
from celeriac.resources.agent import agent_config_name, agent_digest
from celeriac.resources.labels import owner_reference, pool_labels, selector_labels
from celeriac.resources.pod import pod_spec
from celeriac.scaling.policy import Strategy


def build_deployment(
    pool: WorkerPool,
    *,
    agent: Mapping[str, str] | None = None,
    url_has_query: bool = False,
    secret_digest: str | None = None,
) -> dict[str, Any]:
    """The manifest of the pool's Deployment, without spec.replicas: those have another owner, the scale subresource.

    `agent` has the agent's files, which `build_agent_config` puts into the ConfigMap that the pods mount; without it,
    or with `agent: disabled`, they run plain Celery. `url_has_query` says whether the broker URL in the Secret has a
    query already (`?db=1`); it matters with broker.tls only, where parameters are added to the URL.
    `secret_digest` changes with the broker's Secrets. Every call returns a fresh dict.
    """
    if not pool.agent:
        agent = None
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": pool.key.name,
            "namespace": pool.key.namespace,
            "labels": pool_labels(pool),
            **({"annotations": dict(pool.deployment_annotations)} if pool.deployment_annotations else {}),
            "ownerReferences": [owner_reference(pool)],
        },
        "spec": {
            "selector": {"matchLabels": selector_labels(pool)},
            "strategy": _strategy(pool.policy.strategy),
            # Enough to undo a rollout; every old ReplicaSet is an object to keep.
            "revisionHistoryLimit": 2,
            # Until then no new pod is "not progressing": time to pull an image and to load a model.
            "progressDeadlineSeconds": 600,
            "template": {
                "metadata": _template_metadata(pool, agent, secret_digest),
                "spec": pod_spec(
                    pool,
                    url_has_query=url_has_query,
                    agent_config=agent_config_name(agent) if agent is not None else None,
                ),
            },
        },
    }


def _strategy(strategy: Strategy) -> dict[str, Any]:
    """The pool's strategy in full: what is left out would stay with whoever set it before.

    By default a new worker comes first, then an old one less. Workers need no port and no turn: old and new consume
    side by side. A release that does not start takes no working worker away, and a quarter at a time is what a node
    pool or a quota usually has to spare; where it has not, `celeriac.scaling.rollout` makes room.
    """
    if strategy.recreate:
        return {"type": "Recreate"}
    surge, unavailable = strategy.max_surge, strategy.max_unavailable
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}


def _template_metadata(pool: WorkerPool, agent: Mapping[str, str] | None, secret_digest: str | None) -> dict[str, Any]:
    labels, annotations = {**pool.template.labels, **pool_labels(pool)}, dict(pool.template.annotations)
    if agent is not None:
        # Which agent a Pod runs, and which one a ReplicaSet that is kept for an undo would need.
        labels[AGENT_LABEL] = agent_digest(agent)
        # Whoever restores what a dead worker held finds its broker here, even after the pool was deleted.
        annotations[BROKER_ANNOTATION] = broker_reference(pool.broker)
    if secret_digest is not None:
        # A worker keeps the URL of its start: another one takes other workers.
        annotations[SECRET_ANNOTATION] = secret_digest
    return {"labels": labels, "annotations": annotations} if annotations else {"labels": labels}
