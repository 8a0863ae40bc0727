"""Trouble is told in words that say what to do, mended without a restart of the operator, and harms no other pool.

All pools of this module are in trouble from its beginning, but one. Each test mends one of them; that they are well
again is awaited for all of them together.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.story import PATIENCE, Story, fresh_namespace
from tests.e2e.system import WORKER, System
from tests.integration.kube import POOLS

pytestmark = pytest.mark.e2e

SECRET = {"urlFrom": {"secretKeyRef": {"name": "broker", "key": "url"}}}
PASSWORD = {"urlFrom": {"secretKeyRef": {"name": "password", "key": "url"}}}
TOKEN = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "token", "key": "value"}}}
VOLUME = {"name": "settings", "configMap": {"name": "settings"}}
IN_TROUBLE: dict[str, dict[str, Any]] = {
    "image": {"image": "celeriac-demo:absent"},
    "launcher": {"launcher": ["/opt/python/bin/python"]},
    "crash": {"app": "no_such_module"},
    "imports": {
        "app": "broken_app",
        "template": {
            "env": [{"name": "PYTHONPATH", "value": "/broken"}],
            "volumes": [{"name": "broken", "configMap": {"name": "broken"}}],
            "volumeMounts": [{"name": "broken", "mountPath": "/broken"}],
        },
    },
    "option": {"worker": {"extraArgs": ["--frob"]}},
    "variable": {"template": {"env": [TOKEN]}},
    "volume": {"template": {"volumes": [VOLUME], "volumeMounts": [{"name": "settings", "mountPath": "/settings"}]}},
    "secret": {"broker": SECRET},
    "password": {"broker": PASSWORD},
    "host": {"broker_url": "redis://nobody.nowhere:6379/0"},
}


@pytest.fixture(scope="module", autouse=True)
def pools(shared: Story) -> Story:
    """One pool per kind of trouble and a healthy one, each with a task that waits for it."""
    shared.kube.create_secret("password", url=shared.broker_url.replace("redis://", "redis://:hunter2@"))
    shared.kubectl("create", "configmap", "broken", "--from-literal=broken_app.py=import myproject")
    shared.pool("healthy", ["healthy"], scaling={"scaleToZeroAfterSeconds": 3600})
    for name, spec in IN_TROUBLE.items():
        shared.declare(name, [name], pool="solo", **spec)
    for name in ("healthy", *IN_TROUBLE):
        shared.tasks.send("celery", 1, seconds=0.1, to=name)
    shared.tasks.wait_until_done("healthy", seconds=PATIENCE)
    return shared


@contextmanager
def elsewhere(story: Story, *labels: str) -> Iterator[Story]:
    """The story goes on in another namespace, with the same Redis."""
    with fresh_namespace(story.cluster, *labels) as namespace:
        yield Story(story.cluster, namespace, story.tasks, story.witness, broker_url=story.broker_url)


def told(story: Story, name: str, reason: str, condition: str = "Ready") -> str:
    """What the pool's condition says of this trouble; an event says the same."""
    found = story.kube.wait_for_condition(name, condition, "False", reason)
    story.kube.wait_for_event(name, reason)
    message: str = found["message"]
    return message


def assert_mended(story: Story, name: str) -> None:
    """The task that waited is done, once, and the pool is well again."""
    story.tasks.wait_until_done(name, seconds=PATIENCE)
    story.wait_for_zero(name)
    assert story.tasks.accounts()[name].problems == []


def test_an_unknown_image_is_named(pools: Story) -> None:
    message = told(pools, "image", "ImagePullFailed")
    assert "celeriac-demo:absent" in message
    assert "spec.image" in message
    pools.kube.patch(POOLS, "image", {"spec": {"image": WORKER.tag}})


def test_an_image_without_the_launchers_python_is_told_to_have_another_launcher(pools: Story) -> None:
    message = told(pools, "launcher", "StartFailed")
    assert "/opt/python/bin/python" in message
    assert "set spec.launcher to how Python starts in the image" in message
    pools.kube.patch(POOLS, "launcher", {"spec": {"launcher": ["python"]}})


def test_an_app_that_is_not_there_is_named(pools: Story) -> None:
    message = told(pools, "crash", "CrashLoop")
    assert "ModuleNotFoundError: No module named 'no_such_module'" in message
    assert "correct spec.app" in message
    pools.kube.patch(POOLS, "crash", {"spec": {"app": "celery_app"}})


def test_describe_alone_names_the_module_that_an_app_cannot_import(pools: Story) -> None:
    told(pools, "imports", "CrashLoop")
    conditions, _, events = pools.kubectl("describe", "cwp", "imports").partition("\nEvents:")
    for shown in (conditions, events):
        assert "ModuleNotFoundError: No module named 'myproject'" in shown
        assert "the image has no module myproject" in shown
    pools.kube.patch(POOLS, "imports", {"spec": {"app": "celery_app"}})


def test_an_option_that_celery_refuses_is_named(pools: Story) -> None:
    message = told(pools, "option", "CrashLoop")
    assert "No such option" in message
    assert "correct spec.worker.extraArgs" in message
    pools.kube.patch(POOLS, "option", {"spec": {"worker": {"extraArgs": None}}})


def test_a_missing_secret_of_the_template_is_named(pools: Story) -> None:
    message = told(pools, "variable", "ContainerConfigError")
    assert "token" in message
    assert "create the secret token in the pool's namespace" in message
    pools.kube.create_secret("token", value="t")


def test_a_pod_that_waits_for_a_volume_is_named(pools: Story) -> None:
    """The Pod's status does not say for which; what its volumes name is looked for."""
    message = told(pools, "volume", "ContainerConfigError")
    assert "there is no ConfigMap settings: create it" in message
    pools.kubectl("create", "configmap", "settings", "--from-literal=a=b")


def test_a_missing_secret_of_the_broker_is_named(pools: Story) -> None:
    message = told(pools, "secret", "SecretNotFound", "BrokerReachable")
    assert "broker" in message
    pools.kube.create_secret("broker", url=pools.broker_url)


def test_a_refused_password_is_told_and_never_shown(pools: Story, system: System) -> None:
    message = told(pools, "password", "AuthenticationFailed", "BrokerReachable")
    assert "password" in message
    assert "hunter2" not in pools.kubectl("get", "cwp,events", "--output=yaml") + system.log()
    pools.kube.core.patch_namespaced_secret("password", pools.namespace, {"stringData": {"url": pools.broker_url}})


def test_a_host_that_does_not_exist_is_named(pools: Story) -> None:
    message = told(pools, "host", "ConnectionFailed", "BrokerReachable")
    assert "nobody.nowhere" in message
    pools.kube.patch(POOLS, "host", {"spec": {"broker": {"url": pools.broker_url}}})


@pytest.mark.full
def test_a_quota_that_refuses_pods_is_told_to_be_raised(pools: Story) -> None:
    with elsewhere(pools) as narrow:
        narrow.kubectl("create", "quota", "narrow", "--hard=pods=0")
        narrow.declare("quota", ["quota"], pool="solo")
        narrow.tasks.send("celery", 1, seconds=0.1, to="quota")
        message = told(narrow, "quota", "QuotaExceeded")
        assert "raise pods in the ResourceQuota narrow" in message
        narrow.kubectl("patch", "quota", "narrow", "--patch", '{"spec": {"hard": {"pods": "5"}}}')
        assert_mended(narrow, "quota")


def test_a_restricted_namespace_tells_a_baseline_pool_what_to_set_and_runs_a_restricted_one(pools: Story) -> None:
    with elsewhere(pools, "pod-security.kubernetes.io/enforce=restricted") as strict:
        strict.declare("strict", ["strict"], pool="solo", scaling={"minReplicas": 1})
        message = told(strict, "strict", "PodSecurityRefused")
        assert "set spec.podSecurity: Restricted" in message

        strict.kube.patch(POOLS, "strict", {"spec": {"podSecurity": "Restricted"}})
        strict.kube.wait_for_condition("strict", "Ready", "True", "Ready")
        strict.tasks.send("celery", 1, seconds=0.1, to="strict")
        strict.tasks.wait_until_done("strict", seconds=PATIENCE)
        assert strict.tasks.accounts()["strict"].problems == []
        inside = "import os; print(os.getuid(), os.path.exists('/var/run/secrets'), os.access('/', os.W_OK))"
        seen = strict.kubectl("exec", "deployment/strict", "--", "python", "-c", inside)
        assert seen.split() == ["10001", "False", "False"]


def test_a_worker_whose_shell_keeps_sigterm_is_told_to_stop_and_ends_its_task_first(pools: Story) -> None:
    """Without that its pod would be Terminating for the hour of drain.timeoutSeconds."""
    pools.pool("deaf", ["deaf"], pool="solo", launcher=["sh", "-c", 'trap "" TERM; python "$@"', "sh"])
    pools.tasks.send("celery", 1, seconds=15, to="deaf")
    pools.tasks.wait_until_running("deaf", 1, PATIENCE)
    (pod,) = (pod.name for pod in pools.witness.pods("deaf"))
    pools.kubectl("delete", "pod", pod, "--wait=false")
    pools.kube.wait_for_event("deaf", "SignalLost")
    pools.kubectl("wait", "--for=delete", f"pod/{pod}", f"--timeout={PATIENCE:.0f}s")
    assert_mended(pools, "deaf")


def test_all_that_was_mended_is_well_without_a_restart_of_the_operator(pools: Story, system: System) -> None:
    for name in IN_TROUBLE:
        assert_mended(pools, name)
    assert system.restarts() == "0"
    assert "the watches ended" not in system.log()


def test_after_all_that_the_healthy_pool_never_noticed(pools: Story) -> None:
    pools.tasks.send("celery", 1, seconds=0.1, to="healthy")
    pools.tasks.wait_until_done("healthy", seconds=PATIENCE)
    (pod,) = pools.witness.pods("healthy")
    assert (pod.ready, pod.lost_ready, pod.restarts) == (True, False, 0)
    about = "--field-selector=involvedObject.kind=CeleryWorkerPool,involvedObject.name=healthy"
    in_order = ("--sort-by=.metadata.creationTimestamp", "--output=jsonpath={.items[*].reason}")
    events = pools.kubectl("get", "events", about, *in_order).split()
    # The service of its Redis may not have been routed yet when the pool began.
    assert events[events.index("ScaledUp") :] == ["ScaledUp"]
    assert pools.tasks.problems() == []
