"""What is done about a decision: up at once, down only when no task can be hit."""

from dataclasses import replace

import pytest

from celeriac.api.reasons import Reason
from celeriac.scaling.decision import Decision, Plan
from celeriac.scaling.plan import plan
from celeriac.scaling.policy import Mode, Policy
from celeriac.scaling.workload import Demand, Doubt, Workload

pytestmark = pytest.mark.unit

IDLE = Demand(waiting=0, running=0, current_replicas=5)
BUSY = Demand(waiting=2, running=3, current_replicas=5)
UNREADABLE = Doubt(current_replicas=5, since=0.0, reason=Reason.BROKER_TIMEOUT, message="Redis did not answer in 1 s")


def planned(
    wanted: int, demand: Demand | Doubt = IDLE, policy: Policy | None = None, *, current: int = 5, rollout: bool = False
) -> Plan:
    decision = Decision(wanted, Reason.BACKLOG, "the sentence")
    return plan(policy or Policy(slots=1), decision, demand, Workload(current, rollout_in_progress=rollout))


@pytest.mark.parametrize("demand", [IDLE, BUSY, UNREADABLE])
@pytest.mark.parametrize("rollout", [False, True])
def test_more_replicas_are_set_at_once(demand: Demand | Doubt, rollout: bool) -> None:
    assert planned(8, demand, rollout=rollout) == Plan(8, Reason.SCALED, "5 -> 8: the sentence")


def test_fewer_replicas_are_set_once_nothing_waits_or_is_held() -> None:
    assert planned(1) == Plan(1, Reason.SCALED, "5 -> 1: the sentence")


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (BUSY, "2 waiting + 3 running + 0 scheduled"),
        (replace(IDLE, waiting=1), "1 waiting + 0 running + 0 scheduled"),
        (replace(IDLE, running=1), "0 waiting + 1 running + 0 scheduled"),
        (replace(IDLE, scheduled=1), "0 waiting + 0 running + 1 scheduled"),
        (replace(IDLE, exact=False), "0 waiting + 0 running + 0 scheduled, an estimate"),
    ],
)
def test_scale_down_waits_while_anything_may_be_held(held: Demand, words: str) -> None:
    message = f"holding at 5 instead of 1 until nothing is waiting or held: {words}"
    assert planned(1, held) == Plan(None, Reason.TASKS_IN_FLIGHT, message)


def test_scale_down_waits_while_the_broker_is_in_doubt() -> None:
    held = planned(1, UNREADABLE)
    assert (held.replicas, held.reason) == (None, Reason.HOLDING)
    assert held.message == "holding at 5 instead of 1: Redis did not answer in 1 s"


def test_nothing_scales_down_during_a_rollout_not_even_a_pin() -> None:
    for policy in (Policy(slots=1), Policy(slots=1, pinned_replicas=1)):
        held = planned(1, policy=policy, rollout=True)
        assert (held.replicas, held.reason) == (None, Reason.ROLLOUT_IN_PROGRESS)


@pytest.mark.parametrize("pin", [0, 2, 9])
@pytest.mark.parametrize("demand", [IDLE, BUSY, UNREADABLE])
def test_a_pin_goes_through_at_once_in_both_directions(pin: int, demand: Demand | Doubt) -> None:
    assert planned(pin, demand, Policy(slots=1, pinned_replicas=pin)).replicas == pin


@pytest.mark.parametrize(("mode", "reason"), [(Mode.DRY_RUN, Reason.DRY_RUN), (Mode.PAUSED, Reason.PAUSED)])
@pytest.mark.parametrize("wanted", [0, 9])
@pytest.mark.parametrize("pin", [None, 9])
def test_dry_run_and_paused_never_act(mode: Mode, reason: str, wanted: int, pin: int | None) -> None:
    refused = planned(wanted, policy=Policy(slots=1, mode=mode, pinned_replicas=pin))
    assert (refused.replicas, refused.reason) == (None, reason)


def test_a_dry_run_says_what_it_would_do() -> None:
    assert planned(9, policy=Policy(slots=1, mode=Mode.DRY_RUN)).message == "dry run, would scale 5 -> 9: the sentence"


def test_the_same_count_is_no_change() -> None:
    assert planned(5, BUSY) == Plan(None, Reason.NO_CHANGE, "the sentence")
