"""What has no room tells the pool's owner by which of its fields it asks for fewer Pods, where that would help."""

import re
from dataclasses import replace
from typing import Any

import pytest

from celeriac.api.reasons import Reason
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.cluster import cures, refusals
from celeriac.cluster.problems import Problem
from celeriac.reporting.conditions import conditions
from celeriac.reporting.view import View
from tests.unit.reporting.test_status import deployment, known, pod, view

pytestmark = pytest.mark.unit

FULL = 'pods "ml-1" is forbidden: exceeded quota: small, requested: pods=1, used: pods=3, limited: pods=3'
CROWDED = Problem(Reason.UNSCHEDULABLE, "1 Insufficient cpu; add nodes")
MOST = "; or lower spec.scaling.maxReplicas"
LEAST = "; or lower spec.scaling.minReplicas"
PIN = "; or lower spec.replicas, its pin (kubectl celery pin ml REPLICAS)"
UNPAUSE = "; or kubectl celery unpause ml: paused, it keeps its replicas"
SCALE = "; or kubectl scale deployment/ml: with scaling.mode DryRun nobody else removes a replica"
ASKING: list[tuple[dict[str, Any], str]] = [
    ({}, MOST),
    ({"scaling": {"minReplicas": 2}}, MOST),
    ({"scaling": {"minReplicas": 5, "maxReplicas": 5}}, LEAST),
    ({"replicas": 5}, PIN),
    ({"replicas": 5, "scaling": {"mode": "Paused"}}, UNPAUSE),
    ({"replicas": 5, "scaling": {"mode": "DryRun"}}, SCALE),
    ({"scaling": {"mode": "Paused"}}, UNPAUSE),
    ({"scaling": {"mode": "DryRun"}}, SCALE),
]
"""Who says how many replicas a pool has, and by what it would be fewer than the five that it asks for."""


def seen(spec: dict[str, Any], ready: int, **more: Any) -> View:
    """A pool that asks for five Pods, of which three had room, or none."""
    return view(known=known(**spec), deployment=deployment(5, ready, **more))


def said(shown: View) -> set[str]:
    """What its conditions say of the lack of room."""
    reasons = (Reason.QUOTA_EXCEEDED, Reason.UNSCHEDULABLE)
    return {each.message for each in conditions(shown) if each.reason in reasons}


@pytest.mark.parametrize("ready", [0, 3])
@pytest.mark.parametrize(("spec", "hint"), ASKING, ids=[str(spec) for spec, _ in ASKING])
def test_a_lack_of_room_names_the_field_that_asks_for_so_many(spec: dict[str, Any], hint: str, ready: int) -> None:
    refused = said(seen(spec, ready, replicas=3, replica_failure=FULL, full_quota=True))
    assert refused
    assert all(message.endswith(f"raise pods in the ResourceQuota small{hint}") for message in refused)
    pods = [replace(pod("a", CROWDED), unplaced=True)]
    crowded = said(replace(seen(spec, ready), pods=pods))
    assert crowded
    assert all(message.endswith(f"1 pod(s): {CROWDED.message}{hint}") for message in crowded)


def test_where_fewer_pods_would_not_help_nobody_is_told_to_have_fewer() -> None:
    """A Pod that is larger than each node or the whole quota; a broker that is not read, so that nothing goes."""
    assert said(seen({}, 0, replica_failure=FULL)) == {f"{FULL}; raise pods in the ResourceQuota small"}
    assert said(replace(seen({}, 0), pods=[pod("a", CROWDED)])) == {f"1 pod(s): {CROWDED.message}"}
    doubt = BrokerDoubt(Reason.BROKER_TIMEOUT, "no answer")
    unread = seen({}, 0, replica_failure=FULL, full_quota=True)
    assert not any(MOST in each.message for each in conditions(replace(unread, broker=doubt)))


def test_no_cure_of_the_clusters_words_names_a_field_by_which_pools_scale() -> None:
    """Who knows only these words does not know whether the pool is pinned."""
    lists = (cures.UNSCHEDULABLE, cures.IMAGE, cures.CONTAINER_CONFIG, cures.START, cures.LAST_WORDS)
    sentences = [sentence for rows in lists for _, sentence in rows]
    sentences += [sentence for _, _, sentence in refusals.REFUSED] + [*cures.EXIT_CODES.values()]
    assert not [each for each in sentences if re.search(r"spec\.(scaling|replicas)|(min|max)Replicas", each)]


def test_a_quota_of_deployments_asks_for_no_smaller_pods() -> None:
    full = "exceeded quota: few, requested: count/deployments.apps=1, used: count/deployments.apps=2, limited: 2"
    cure = "raise count/deployments.apps in the ResourceQuota few, or delete Deployments that nobody needs"
    assert refusals.refusal_of(full) == (Reason.QUOTA_EXCEEDED, cure)
