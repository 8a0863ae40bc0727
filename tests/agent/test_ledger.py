"""The checker can fail: on what is planted, and on what happens to workers without the agent."""

import time

import pytest

from tests.agent.environments import NEWEST
from tests.agent.ledger import Idle
from tests.agent.rig import Rig
from tests.agent.worker import Spec

pytestmark = pytest.mark.agent

PLAIN = Spec(NEWEST, "threads", agent=False)


def test_work_that_is_done_once_settles_the_account(rig: Rig) -> None:
    rig.send("a", "b", "c")
    rig.start(PLAIN)
    rig.settle()
    account = rig.account()
    assert (account.problems, account.sent, account.ended) == ({}, 3, 3)


def test_a_message_that_vanishes_is_lost_and_one_that_is_copied_runs_twice(rig: Rig) -> None:
    rig.send("kept", "copied", "taken")
    taken, copied = map(str, rig.client.lrange("shop:celery", 0, 1))
    rig.client.lrem("shop:celery", 1, taken)
    rig.client.lpush("shop:celery", copied)
    rig.start(PLAIN)
    rig.wait_for(lambda: sorted(rig.ledger.ended()) == ["copied", "copied", "kept"], "what is there has run")
    assert rig.account().problems == {"lost": ("taken/0",), "twice": ("copied/0",)}


def test_a_start_after_drained_and_a_key_that_stays_are_seen(rig: Rig) -> None:
    rig.ledger.idle.append(Idle("orders-0", since=time.monotonic()))
    rig.client.hset("shop:unacked", "tag", "message")
    rig.send("a")
    rig.start(Spec(NEWEST, "threads", agent=False, variables={"CELERIAC_POD_NAME": "orders-0"}))
    rig.settle()
    assert rig.account().problems == {"after_drained": ("a/0",), "left": ("shop:unacked (1)",)}


@pytest.mark.parametrize("acks_late", [False, True], ids=["early", "late"])
def test_a_plain_worker_that_an_autoscaler_stops_loses_what_it_ran_and_strands_what_it_held(
    rig: Rig, acks_late: bool
) -> None:
    rig.send(*"abcdefgh", args=[60])
    [worker] = rig.start(Spec(NEWEST, "prefork", acks_late, prefetch=2, agent=False))
    rig.running("a", "b")
    rig.wait_for(lambda: int(str(rig.client.hlen("shop:unacked"))) == 4, "it holds two beside those that run")
    worker.kill()
    account = rig.account()
    assert account.killed == ("a/0", "b/0")
    assert account.lost == tuple(f"{task}/0" for task in "abcdefgh")
    assert {"shop:unacked (4)", "shop:unacked_index (4)"} <= set(account.left)
