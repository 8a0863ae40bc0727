"""Some forty broken pools at once: describe, events, the operator's log and the plugin each say why, and the cure.

The API server, its controllers and Redis are real; what a kubelet and a scheduler would write of Pods is written by
hand. That a real kubelet writes so, tests/e2e/test_trouble.py shows.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from celeriac.api.names import POOL_LABEL
from celeriac.cli.kubectl import celery
from tests.cluster.control_plane import ControlPlane
from tests.cluster.process import wait_until
from tests.integration import hasty_operator
from tests.integration.broken_rows import PASSWORD, ROWS, Broken
from tests.integration.crds import install_crds
from tests.integration.kube import Kube
from tests.integration.kubelet import FakePod
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.integration.tasks import push

pytestmark = pytest.mark.integration

MAIN = "broken"
SECONDS = 60.0
SLOW = "misspelled"
"""The last row: it takes some seconds without a message."""
LABELS = {word: {"pod-security.kubernetes.io/enforce": "restricted"} for word in ("strict", "strict-mount")}
SEPARATOR = "\x06\x16"
QUOTAS = {"quota": {"pods": "0"}, "quota-asks": {"limits.cpu": "10"}}
RANGE = {"limits": [{"type": "Container", "max": {"memory": "64Mi"}}]}


class Ward:
    """All broken pools beside each other, each with its trouble told."""

    def __init__(self, control_plane: ControlPlane, stack: ExitStack) -> None:
        self.control_plane = control_plane
        self.kubes = {word: self._kube(word) for word in {row.namespace for row in ROWS}}
        self._shown: dict[str, list[str]] = {}
        stack.callback(self._clean_up)
        redis = stack.enter_context(RedisServer())
        with redis.client() as client:
            client.sadd("_kombu.binding.mail_outbound", SEPARATOR.join(("mail_outbound", "", "mail_outbound")))
        watched = [part for kube in self.kubes.values() for part in ("--watch-namespace", kube.namespace)]
        self.operator = OperatorProcess(control_plane.kubeconfig, MAIN, *watched)
        self.operator.start(str(Path(hasty_operator.__file__)))
        stack.push(self.operator)
        for row in ROWS:
            url = None if row.pool == "no-broker" else row.url or redis.celery_url
            given: dict[str, Any] = {"agent": "disabled", "queues": [row.pool], "scaling": {"minReplicas": 1}}
            if row.pool == "no-broker":
                given["broker"] = {"urlFrom": {"secretKeyRef": {"name": "no-broker", "key": "url"}}}
            self.kube(row).create_pool(row.pool, url, **given | row.spec)
            if row.pool != SLOW:
                push(redis, row.pool, 1)
        for row in ROWS:
            if row.befalls is not None:
                row.befalls(self._pod(row))
        for row in ROWS:
            if row.pool != SLOW:
                self.wait_until_told(row)

    def wait_until_told(self, row: Broken) -> None:
        """Until its condition and an event say so."""
        self.kube(row).wait_for_condition(row.pool, row.condition, row.status, row.reason)
        self.kube(row).wait_for_event(row.pool, row.reason)

    def kube(self, row: Broken) -> Kube:
        """The namespace of a pool."""
        return self.kubes[row.namespace]

    def described(self, row: Broken) -> tuple[str, str]:
        """What `kubectl describe cwp` shows, before its events and from there on."""
        if row.namespace not in self._shown or row.pool == SLOW:
            place = f"--namespace={self.kube(row).namespace}"
            self._shown[row.namespace] = self.control_plane.kubectl("describe", "cwp", place).split("\n\n\n")
        (shown,) = (each for each in self._shown[row.namespace] if each.split()[1] == row.pool)
        before, _, events = shown.partition("\nEvents:")
        return before, events

    def explained(self, row: Broken) -> str:
        """What the plugin says of it."""
        place = ["-n", self.kube(row).namespace, "--kubeconfig", str(self.control_plane.kubeconfig)]
        result = CliRunner().invoke(celery, ["why", row.pool, *place])
        assert result.exit_code == 0, result.output
        return result.output

    def logged(self, row: Broken) -> str:
        """The lines of the operator's log about it."""
        about = f"pool {self.kube(row).namespace}/{row.pool}: {row.reason}: "
        return "\n".join(line for line in self.operator.log().splitlines() if about in line)

    def _kube(self, word: str) -> Kube:
        name = f"{MAIN}-{word}" if word else MAIN
        kube = Kube(self.control_plane.kubeconfig, name, patience=SECONDS)
        core: Any = kube.core
        core.create_namespace({"metadata": {"name": name, "labels": LABELS.get(word, {})}})
        if word in QUOTAS:
            quota = {"metadata": {"name": word.replace("quota-", "").replace("quota", "narrow")}}
            core.create_namespaced_resource_quota(name, {**quota, "spec": {"hard": QUOTAS[word]}})
        if word == "range":
            core.create_namespaced_limit_range(name, {"metadata": {"name": "range"}, "spec": RANGE})
        return kube

    def _clean_up(self) -> None:
        for kube in self.kubes.values():
            core: Any = kube.core
            core.delete_namespace(kube.namespace)

    def _pod(self, row: Broken) -> FakePod:
        """The Pod that the controllers have made of a pool."""
        kube = self.kube(row)
        core: Any = kube.core
        found: list[Any] = []

        def is_made() -> bool:
            found[:] = core.list_namespaced_pod(kube.namespace, label_selector=f"{POOL_LABEL}={row.pool}").items
            return bool(found)

        wait_until(is_made, f"the pod of {row.pool}", seconds=SECONDS)
        return FakePod(kube, found[0].to_dict())


@pytest.fixture(scope="module")
def ward(control_plane: ControlPlane) -> Iterator[Ward]:
    install_crds(control_plane)
    with ExitStack() as stack:
        yield Ward(control_plane, stack)


def test_there_are_at_least_twenty() -> None:
    assert len({row.pool for row in ROWS}) == len(ROWS) >= 20


@pytest.mark.parametrize("row", ROWS, ids=[row.pool for row in ROWS])
def test_all_four_say_why_and_what_to_do(ward: Ward, row: Broken) -> None:
    ward.wait_until_told(row)
    conditions, events = ward.described(row)
    told = {"describe": conditions, "events": events, "log": ward.logged(row), "plugin": ward.explained(row)}
    for where, text in told.items():
        assert row.reason in text, where
        assert row.cause in text, (where, text)
        assert row.cure in text, (where, text)


def test_no_surface_shows_what_a_container_has_said_of_passwords_or_arguments(ward: Ward) -> None:
    bodies = [
        ward.control_plane.kubectl("get", "cwp,events", "-n", kube.namespace, "-o", "json")
        for kube in ward.kubes.values()
    ]
    shown = json.dumps(bodies) + ward.operator.log()
    assert "postgresql://***@db/shop" in shown
    assert PASSWORD not in shown
