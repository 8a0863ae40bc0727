"""What kstatus makes of an object: the rules of sigs.k8s.io/cli-utils by which Flux, kpt and others judge, told anew.

In this order, the first that holds:

1. It is being deleted: Terminating.
2. `status.observedGeneration` is there and is not `metadata.generation`: InProgress.
3. Of its conditions, in their order, the first that is Reconciling True: InProgress, or Stalled True: Failed.
4. Newer releases: its condition Ready is not True: InProgress. (Older ones do not look at Ready at all, so that a
   status must give the same verdict without this rule.)
5. Current.
"""

from typing import Any

VERDICTS = ("Current", "InProgress", "Failed", "Terminating")


def verdict(body: dict[str, Any], *, looks_at_ready: bool = True) -> str:
    """One of VERDICTS."""
    metadata, status = body["metadata"], body.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return "Terminating"
    if status.get("observedGeneration", metadata["generation"]) != metadata["generation"]:
        return "InProgress"
    conditions = status.get("conditions") or ()
    for condition in conditions:
        if condition["status"] == "True" and condition["type"] in ("Reconciling", "Stalled"):
            return "InProgress" if condition["type"] == "Reconciling" else "Failed"
    ready = next((each for each in conditions if each["type"] == "Ready"), None)
    if looks_at_ready and ready is not None and ready["status"] != "True":
        return "InProgress"
    return "Current"
