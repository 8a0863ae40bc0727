"""What a user with the role `edit` in a namespace asks by `kubectl celery`, without a route to Redis."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from celeriac.cli.kubectl import celery
from tests.cluster.control_plane import ControlPlane
from tests.cluster.process import wait_until
from tests.integration.kube import Kube
from tests.integration.redis_server import RedisServer
from tests.integration.tasks import push

pytestmark = pytest.mark.integration

Run = Callable[..., Result]
REQUESTS = {"group": "celeriac.dev", "version": "v1alpha1", "plural": "celerypoolrequests"}
QUICK = {"scaleDown": {"stabilizationWindowSeconds": 0}}
DEAD = {
    "body": "W1tdLCB7fSwge31d",
    "content-type": "application/json",
    "content-encoding": "utf-8",
    "headers": {"task": "shop.mail", "id": "", "argsrepr": "('secret',)"},
    "properties": {"delivery_tag": "1", "priority": 0, "delivery_info": {"celeriac_dead": "its workers died 5 times"}},
}


@pytest.fixture
def editor(kube: Kube, control_plane: ControlPlane) -> Path:
    """The kubeconfig of somebody who has the role `edit` in this namespace, and no other right."""
    control_plane.kubectl("create", "serviceaccount", "editor", f"--namespace={kube.namespace}")
    who = f"--serviceaccount={kube.namespace}:editor"
    control_plane.kubectl("create", "rolebinding", "editor", "--clusterrole=edit", who, f"--namespace={kube.namespace}")
    mine = f"system:serviceaccount:{kube.namespace}:editor"

    def is_granted() -> bool:
        """The roles of the chart are added to `edit` by a controller."""
        question = ("auth", "can-i", "create", "celerypoolrequests.celeriac.dev", f"--as={mine}")
        return control_plane.kubectl(*question, f"--namespace={kube.namespace}").strip() == "yes"

    wait_until(is_granted, "the role edit may ask", seconds=30)
    return control_plane.kubeconfig_for_service_account(kube.namespace, "editor")


@pytest.fixture
def run(kube: Kube, editor: Path) -> Run:
    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(celery, ["-n", kube.namespace, *arguments, "--kubeconfig", str(editor)])

    return invoke


@pytest.fixture
def shop(kube: Kube, redis: RedisServer) -> Kube:
    """A pool with five tasks that wait, of which three pods are made."""
    kube.create_pool("ml", redis.celery_url, queues=["ml", "mail"], scaling={"maxReplicas": 3, "behavior": QUICK})
    push(redis, "ml", 5)
    kube.wait_for_replicas("ml", 3)
    return kube


def parsed(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def wait_for_the_tick(run: Run) -> None:
    """Until it has seen the pods that it asked for: what was decided before is told of a pool at zero."""
    wait_until(lambda: parsed(run("top", "-o", "json"))[0]["replicas"] == 3, "the tick has seen them", seconds=10)


def test_top_shows_live_figures(shop: Kube, run: Run, redis: RedisServer) -> None:
    wait_for_the_tick(run)
    (row,) = parsed(run("top", "-o", "json"))
    assert {key: row[key] for key in ("name", "waiting", "replicas", "desired")} == {
        "name": "ml",
        "waiting": 5,
        "replicas": 3,
        "desired": 3,
    }
    push(redis, "ml", 2)
    wait_until(lambda: parsed(run("top", "ml", "-ojson"))[0]["waiting"] == 7, "it is live", seconds=10)
    header, line = run("top").output.splitlines()
    assert header.split()[:4] == ["NAME", "WAITING", "RUNNING", "REPLICAS"]
    assert line.split()[:4] == ["ml", "7", "0", "3"]


def test_explain_tells_each_step_and_what_would_change_it(shop: Kube, run: Run) -> None:
    wait_for_the_tick(run)
    text = run("explain", "ml").output
    for words in (
        "5 waiting, 0 running",
        "limited to 3 by maxReplicas",
        "What would change it",
        "3 tasks fewer waiting: 2 replicas (DemandFell)",
        "0 -> 3",
    ):
        assert words in text, text
    found = parsed(run("explain", "ml", "-o", "json"))
    assert [step["name"] for step in found["steps"]] == [
        "target",
        "tolerance",
        "stabilization",
        "rate",
        "bounds",
        "zero",
    ]
    assert found["decisions"][-1]["desired"] == 3


def test_queues_are_shown_each_by_itself(shop: Kube, run: Run) -> None:
    assert [(each["name"], each["waiting"]) for each in parsed(run("queues", "ml", "-o", "json"))] == [
        ("ml", 5),
        ("mail", 0),
    ]


def test_dead_letters_are_listed_put_back_and_dropped(shop: Kube, run: Run, redis: RedisServer) -> None:
    with redis.client() as client:
        for number in range(5):
            letter = {**DEAD, "headers": {**DEAD["headers"], "id": f"task-{number}"}}  # type: ignore[dict-item]
            client.lpush("celeriac:dead:mail", json.dumps(letter))
    listed = parsed(run("dead-letters", "list", "ml", "mail", "-o", "json"))
    assert [(each["id"], each["task"], each["reason"]) for each in listed] == [
        (f"task-{number}", "shop.mail", "its workers died 5 times") for number in range(5)
    ]
    assert "secret" not in run("dead-letters", "list", "ml", "mail").output
    wait_until(lambda: run("dead-letters", "show", "ml", "task-3").exit_code == 0, "the count is read", seconds=10)
    assert "queue:   mail" in run("dead-letters", "show", "ml", "task-3").output
    assert "1 dead letter(s) put back" in run("dead-letters", "requeue", "ml", "mail", "--id", "task-1").output
    assert "2 dead letter(s)" in run("dead-letters", "drop", "ml", "mail", "--id", "task-0", "--id", "task-4").output
    with redis.client() as client:
        back = [json.loads(text)["headers"]["id"] for text in client.lrange("mail", 0, -1)]
        left = [json.loads(text)["headers"]["id"] for text in client.lrange("celeriac:dead:mail", 0, -1)]
    assert (back, left) == (["task-1"], ["task-3", "task-2"])
    again = run("dead-letters", "requeue", "ml", "mail", "--id", "task-1")
    assert (again.exit_code, "no dead letter of mail has such an id" in again.output) == (1, True)
    assert "name those to be deleted" in run("dead-letters", "drop", "ml", "mail").output
    assert "it has ml, mail" in run("dead-letters", "list", "ml", "mial").output


def test_unroutable_ones_go_to_a_queue_that_is_named_and_one_is_found_wherever_it_stands(
    shop: Kube, run: Run, redis: RedisServer
) -> None:
    with redis.client() as client:
        for number in range(250):
            letter = {**DEAD, "headers": {**DEAD["headers"], "id": f"task-{number}"}}  # type: ignore[dict-item]
            client.lpush("celeriac:dead:unroutable", json.dumps(letter))
    assert len(parsed(run("dead-letters", "list", "ml", "--limit", "7", "-o", "json"))) == 7
    assert "queue:   unroutable" in run("dead-letters", "show", "ml", "task-249").output
    moved = ("dead-letters", "requeue", "ml", "unroutable", "--id", "task-249")
    assert "name it with --to QUEUE" in run(*moved).output
    assert "no queue of the pool that they could go to: it has ml, mail" in run(*moved, "--to", "mial").output
    assert run(*moved, "--to", "mail").output == "1 dead letter(s) put back into mail\n"
    with redis.client() as client:
        assert [json.loads(text)["headers"]["id"] for text in client.lrange("mail", 0, -1)] == ["task-249"]
        assert client.llen("celeriac:dead:unroutable") == 249


def test_doctor_tells_who_answers_and_which_lists_nobody_reads(shop: Kube, run: Run, redis: RedisServer) -> None:
    """Of somebody who may read neither the operator's Lease nor CRDs."""
    monitor = "celeryev.0b5f8a1e-0000-4000-8000-000000000001"
    with redis.client() as client:
        client.sadd("_kombu.binding.celeryev", f"#\x06\x16\x06\x16{monitor}")
        client.lpush(monitor, *(json.dumps({"properties": {"delivery_tag": str(each)}}) for each in range(1500)))
    result = run("doctor")
    told = result.output.splitlines()
    assert told[0].startswith("ok cluster: the API server answers, Kubernetes v"), result.output
    assert any(line.startswith("ok operator ") and "it has answered a request just now" in line for line in told)
    (orphans,) = [line for line in told if line.startswith("!  unread lists")]
    assert (
        f"1500 messages, about 0.1 MB, in 1 that nobody has read for 5 s and that do not expire: {monitor}" in orphans
    )
    assert result.exit_code == 1
    assert shop.list(REQUESTS) == []
    with redis.client() as client:
        client.delete(monitor)
    (well,) = [line for line in run("doctor").output.splitlines() if "unread lists" in line]
    assert well == "ok unread lists: 1 of 1 brokers have none of Celery's own that matter"


def test_no_request_is_left_behind(shop: Kube, run: Run) -> None:
    assert run("top").exit_code == 0
    assert shop.list(REQUESTS) == []


def test_what_is_left_behind_goes_with_its_answer(shop: Kube, control_plane: ControlPlane) -> None:
    """As by kubectl: the answer stands in the object."""
    body = {"apiVersion": "celeriac.dev/v1alpha1", "kind": "CeleryPoolRequest"}
    shop.create(REQUESTS, {**body, "metadata": {"name": "q"}, "spec": {"action": "Queues", "pool": "ml"}})
    shop.wait_for(REQUESTS, "q", lambda found: found.get("status", {}).get("phase") == "Done")
    shop.patch(REQUESTS, "q", {"spec": {"round": 7}})
    shop.wait_for(REQUESTS, "q", lambda found: found["status"]["round"] == 7)


def test_who_may_ask_and_not_change_the_pool_gets_nothing_done(
    shop: Kube, control_plane: ControlPlane, redis: RedisServer
) -> None:
    """A role that grants requests alone is no way around the rights on pools."""
    control_plane.kubectl(
        *("create", "role", "asker", "--verb=create,get,delete", f"--namespace={shop.namespace}"),
        "--resource=celerypoolrequests.celeriac.dev",
    )
    control_plane.kubectl("create", "serviceaccount", "asker", f"--namespace={shop.namespace}")
    who = f"--serviceaccount={shop.namespace}:asker"
    control_plane.kubectl("create", "rolebinding", "asker", "--role=asker", who, f"--namespace={shop.namespace}")
    asker = Kube(control_plane.kubeconfig_for_service_account(shop.namespace, "asker"), shop.namespace)
    body = {"apiVersion": "celeriac.dev/v1alpha1", "kind": "CeleryPoolRequest", "metadata": {"generateName": "q-"}}
    for spec in (
        {"action": "Top"},
        {"action": "Queues", "pool": "ml"},
        {"action": "DropDeadLetters", "pool": "ml", "queue": "mail", "all": True},
    ):
        with pytest.raises(Exception, match="you may not ask for this"):
            asker.create(REQUESTS, {**body, "spec": spec})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("explain", "mll"), "see `kubectl celery list -A`"),
        pytest.param(("top", "-l", "team=none"), "no CeleryWorkerPool", marks=pytest.mark.full),
        pytest.param(("explain", "ml", "--at", "noon"), "is no time", marks=pytest.mark.full),
        pytest.param(("drain", "ml-nothing"), "not found", marks=pytest.mark.full),
        (("logs", "ml", "--state", "draining"), "has no workers that are draining"),
        pytest.param(("explain", "ml", "--at", "2020-01-01T00:00:00Z"), "no decision by", marks=pytest.mark.full),
    ],
)
def test_wrong_input_is_answered_in_one_sentence(shop: Kube, run: Run, arguments: tuple[str, ...], words: str) -> None:
    result = run(*arguments)
    assert result.exit_code != 0
    assert words in result.output, result.output
    assert "Traceback" not in result.output
