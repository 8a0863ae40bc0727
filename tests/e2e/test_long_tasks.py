"""Stories of tasks that run for most of a minute; they share that minute, and one Redis."""

import pytest

from tests.e2e.story import PATIENCE, Story
from tests.e2e.system import System
from tests.integration.kube import DEPLOYMENTS, LEASES, POOLS

pytestmark = pytest.mark.e2e

REPLICASETS = {"group": "apps", "version": "v1", "plural": "replicasets"}
ONE_BY_ONE = {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 4}]}}


@pytest.fixture(scope="module", autouse=True)
def busy(shared: Story) -> Story:
    """A solo worker in a task of 45 s; a prefork worker in four of 30 s, with more tasks behind them; short ones."""
    shared.pool("solo", ["ml_service"])
    shared.pool("deleted", ["email_service"], pool="prefork", concurrency=4, scaling={"maxReplicas": 1})
    shared.pool("short", ["celery"], pool="threads")
    shared.tasks.send("ml_service", 1, seconds=45)
    shared.tasks.send("email_service", 4, seconds=30)
    shared.tasks.send("celery", 4, seconds=3)
    shared.tasks.wait_until_running("ml_service", 1, PATIENCE)
    shared.tasks.wait_until_running("email_service", 4, PATIENCE)
    shared.tasks.wait_until_started("celery", 4, PATIENCE)
    shared.tasks.send("email_service", 3, seconds=1)
    shared.kube.delete(POOLS, "deleted")
    return shared


def test_a_busy_pool_does_not_keep_another_on_the_same_redis_from_its_zero(busy: Story) -> None:
    busy.wait_for_zero("short")
    assert busy.tasks.held("ml_service") == 1
    assert busy.tasks.accounts()["ml_service"].unfinished
    assert busy.kube.replicas("solo") == 1


def test_an_operator_killed_in_the_middle_of_a_scale_up_is_followed_by_one_that_goes_on(
    busy: Story, system: System
) -> None:
    busy.pool("slow", ["slow"], scaling={"maxReplicas": 4, "behavior": ONE_BY_ONE})
    busy.tasks.send("batch", 5, seconds=20, to="slow")
    busy.kube.wait_for_replicas("slow", 2)
    first = system.operator_pod()
    system.kill_operator()
    busy.kube.wait_for_replicas("slow", 4)
    assert first.rpartition("/")[2] != system.kube.get(LEASES, "celeriac")["spec"]["holderIdentity"]
    wanted = busy.witness.pool("slow").wanted
    assert wanted == sorted(wanted)


def test_a_pool_deleted_while_tasks_run_lets_them_finish_and_leaves_nothing_behind(busy: Story) -> None:
    """They were acknowledged early: no trace of them is in Redis. What the worker had reserved goes back."""
    selector = "--selector=celeriac.dev/pool=deleted"
    busy.kubectl("wait", "--for=delete", "pod", selector, f"--timeout={PATIENCE}s")
    busy.kube.wait_until_gone(DEPLOYMENTS, "deleted")
    assert busy.kubectl("get", "deployments,replicasets,pods", selector, "--output=name") == ""
    mails = busy.tasks.accounts()["email_service"]
    assert (mails.sent, mails.succeeded, len(mails.unstarted), mails.unfinished) == (7, 4, 3, ())
    assert (busy.tasks.waiting("email_service"), busy.tasks.held("email_service")) == (3, 0)


def test_a_pool_of_the_same_name_takes_up_what_the_deleted_one_left(busy: Story) -> None:
    busy.pool("deleted", ["email_service"], pool="prefork", concurrency=4)
    busy.tasks.wait_until_done("email_service", seconds=PATIENCE)
    busy.wait_for_zero("deleted")
    assert busy.tasks.accounts()["email_service"].problems == []


def test_a_solo_worker_in_a_task_longer_than_its_probes_stays_ready_and_is_not_restarted(busy: Story) -> None:
    busy.tasks.wait_until_done("ml_service", seconds=PATIENCE)
    (pod,) = busy.witness.pods("solo")
    assert pod.was_ready
    assert not pod.lost_ready
    assert pod.restarts == 0
    busy.wait_for_zero("solo")


def test_after_all_that_every_task_is_accounted_for(busy: Story) -> None:
    busy.tasks.wait_until_done(seconds=PATIENCE)
    busy.wait_for_zero("slow")
    assert busy.tasks.problems() == []
    for queue in ("ml_service", "email_service", "celery", "slow"):
        assert busy.tasks.waiting(queue) == busy.tasks.held(queue) == 0
