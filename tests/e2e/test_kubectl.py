"""What a person sees and does with kubectl, and with its plugin as somebody who has the role `edit` alone."""

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner

from celeriac.cli.kubectl import celery
from tests.e2e.story import PATIENCE, Story
from tests.integration.kube import Body

pytestmark = pytest.mark.e2e

Plugin = Callable[..., str]
UNPIN = '{"spec":{"replicas":null}}'


@pytest.fixture(scope="module", autouse=True)
def ml(shared: Story) -> Story:
    """A pool that has run two tasks on one worker, and sleeps again."""
    shared.pool("ml", ["ml_service"], scaling={"maxReplicas": 1})
    shared.tasks.send("ml_service", 2, seconds=1)
    shared.tasks.wait_until_done(seconds=PATIENCE)
    shared.wait_for_zero("ml")
    shared.kube.wait_for_pool("ml", lambda pool: _at_rest(pool["status"]))
    return shared


def _at_rest(status: Body) -> bool:
    return status["decision"]["reason"] == "Idle" and not status.get("readyReplicas")


def test_get_shows_in_one_line_what_the_pool_is_doing(ml: Story) -> None:
    header, line = ml.kubectl("get", "cwp").splitlines()
    assert header.split() == ["NAME", "POOL", "WAITING", "RUNNING", "DESIRED", "READY", "STATE", "DECISION", "AGE"]
    assert line.split()[:8] == ["ml", "solo", "0", "0", "0", "0", "ScaledToZero", "Idle"]


def test_get_wide_adds_queues_broker_and_the_decision_in_words(ml: Story) -> None:
    line = ml.kubectl("get", "cwp", "ml", "--output=wide", "--no-headers")
    assert '["ml_service"]' in line
    assert "Readable" in line
    assert line.rstrip().endswith("nothing waiting, running or scheduled: 0 replicas")


def test_describe_tells_the_story_of_the_pool(ml: Story) -> None:
    text = ml.kubectl("describe", "cwp", "ml")
    for part in ("Ready", "Reconciling", "Stalled", "BrokerReachable", "ScalingActive", "ScalingLimited"):
        assert f"Type:                  {part}\n" in text
    events = text[text.index("\nEvents:") :]
    assert "ScaledUp" in events
    assert "0 -> 1: 2 waiting + 0 running over 1 slot per replica" in events
    assert "limited to 1 by maxReplicas" in events
    assert "ScaledDown" in events
    assert "1 -> 0: 0 after 2 s of nothing waiting, running or scheduled" in events


def test_explain_says_what_a_field_means_its_unit_and_its_default(ml: Story) -> None:
    text = " ".join(ml.kubectl("explain", "cwp.spec.scaling").split())
    assert "How the number of pods follows the queues." in text
    assert "Seconds without any task, waiting or running, before the last pod goes." in text
    assert "Default: {queueWaitSeconds: 10}" in text


@pytest.mark.full
def test_scale_pins_and_a_null_unpins(ml: Story) -> None:
    ml.kubectl("scale", "cwp/ml", "--replicas=3")
    ml.kube.wait_for_condition("ml", "ScalingActive", "False", "Pinned")
    ml.kube.wait_for_pool("ml", lambda pool: pool["status"].get("readyReplicas") == 3)
    ml.kubectl("patch", "cwp", "ml", "--type=merge", "--patch", UNPIN)
    ml.kube.wait_for_condition("ml", "ScalingActive", "True", "ScalingFromQueues")
    ml.wait_for_zero("ml")


@pytest.fixture
def plugin(ml: Story) -> Plugin:
    """`kubectl celery` as a ServiceAccount with the role `edit` in the story's namespace."""
    ml.kubectl("create", "serviceaccount", "editor")
    ml.kubectl("create", "rolebinding", "editor", "--clusterrole=edit", f"--serviceaccount={ml.namespace}:editor")
    token = ml.kubectl("create", "token", "editor").strip()
    config = json.loads(ml.cluster.kubectl("config", "view", "--raw", "--flatten", "--output=json"))
    user = {"name": "editor", "user": {"token": token}}
    config |= {
        "users": [user],
        "contexts": [
            {
                "name": "e",
                "context": {"cluster": config["clusters"][0]["name"], "user": "editor", "namespace": ml.namespace},
            }
        ],
        "current-context": "e",
    }
    file = ml.cluster.kubeconfig.parent / f"editor-{ml.namespace}.json"
    file.write_text(json.dumps(config))

    def run(*words: str) -> str:
        result = CliRunner().invoke(celery, [*words, "--kubeconfig", str(file)])
        assert result.exit_code == 0, result.output
        return result.output

    return run


def test_an_editor_follows_a_worker_lets_it_go_and_starts_all_anew(ml: Story, plugin: Plugin) -> None:
    def pod_names() -> set[str]:
        return set(ml.kubectl("get", "pods", "--selector=celeriac.dev/pool=ml", "--output=name").split())

    plugin("pin", "ml", "1")
    ml.tasks.send("ml_service", 1, seconds=20)
    ml.kube.wait_for_pool("ml", lambda pool: pool["status"].get("running") == 1)
    assert json.loads(plugin("top", "ml", "-o", "json"))[0]["running"] == 1
    (busy,) = pod_names()
    assert "received" in plugin("logs", "ml", "--tail", "100")
    ml.kube.wait_for_pool("ml", lambda pool: pool["status"].get("readyReplicas") == 1)
    assert "(ready)" in plugin("-n", ml.namespace, "logs", "ml")
    assert "ends its tasks" in plugin("drain", busy.removeprefix("pod/"))
    assert "(ending)" in plugin("logs", "ml", "--state", "ending")
    ml.tasks.wait_until_done(seconds=PATIENCE)
    ml.kubectl("wait", "--for=delete", busy, f"--timeout={PATIENCE:.0f}s")
    ml.kube.wait_for_pool("ml", lambda pool: pool["status"].get("readyReplicas") == 1)
    (second,) = pod_names()
    assert "replaced one after the other" in plugin("restart", "ml")
    ml.kubectl("wait", "--for=delete", second, f"--timeout={PATIENCE:.0f}s")
    ml.kube.wait_for_pool("ml", lambda pool: pool["status"].get("readyReplicas") == 1)
    assert "Ready True" in plugin("why", "ml")
    assert "Pinned" in plugin("explain", "ml")
    plugin("resume", "ml")
    ml.wait_for_zero("ml")
