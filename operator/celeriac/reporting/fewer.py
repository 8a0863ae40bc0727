"""By what a pool asks for fewer Pods, where those that it asks for have no room; pure.

Which field that is depends on who says how many replicas it has: `maxReplicas` does nothing for a pool that is pinned.
"""

from celeriac.reporting.view import View
from celeriac.scaling.policy import Mode


def fewer(view: View) -> str:
    """What goes on a cure: "; or lower ..."; empty where nothing that its owner writes would remove a replica now."""
    policy, name = view.policy, view.known.key.name
    if policy is None:
        return ""
    if policy.mode is Mode.PAUSED:
        return f"; or kubectl celery unpause {name}: paused, it keeps its replicas"
    if policy.mode is Mode.DRY_RUN:
        return f"; or kubectl scale deployment/{name}: with scaling.mode DryRun nobody else removes a replica"
    if policy.pinned_replicas is not None:
        return f"; or lower spec.replicas, its pin (kubectl celery pin {name} REPLICAS)"
    if view.broker is not None:
        return ""  # nothing is removed while the broker cannot be read
    field = "minReplicas" if view.wanted <= policy.min_replicas else "maxReplicas"
    return f"; or lower spec.scaling.{field}"
