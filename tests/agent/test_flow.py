"""Scale-downs and scale-ups while messages flow: nothing is lost, nothing runs twice, nothing is killed."""

import pytest

from tests.agent.flow import Flow
from tests.agent.rig import Rig
from tests.agent.shapes import once, param, workers
from tests.agent.worker import Spec

pytestmark = pytest.mark.agent


@pytest.mark.parametrize("spec", workers(quick=["prefork"], prefetch=4))
def test_pods_come_and_go_under_flow_and_the_ledger_stays_clean(rig: Rig, spec: Spec) -> None:
    first, second = rig.start(spec, spec)
    with Flow(rig, rate=10 * spec.slots_in_truth):  # nine tenths of what one pod can bear
        rig.drain(first)
        rig.undrain(first)
        rig.scale_down(second)
        [third] = rig.start(spec)
        rig.drain(third)
        rig.undrain(third)
        rig.scale_down(first)
    rig.settle()
    assert rig.account().problems == {}


@pytest.mark.full
@pytest.mark.parametrize("spec", once())
def test_a_slot_that_is_free_is_filled_at_once_though_nothing_waits_in_the_worker(rig: Rig, spec: Spec) -> None:
    rig.start(spec)
    tasks = [f"t{number:02}" for number in range(20 * spec.slots_in_truth)]
    rig.send(*tasks, args=[0.2])
    # A loop that is not woken looks again after 2 s: that would be 40 s, for what takes 4.
    rig.wait_for(lambda: len(rig.ledger.ended()) == len(tasks), "all are done", seconds=15)


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("spec", workers(slots=4))
def test_forty_marks_under_heavy_flow(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    with Flow(rig, rate=150, seconds=(0.0, 0.001, 0.002)):
        for _ in range(40):
            rig.drain(worker)
            worker.fresh()
            rig.undrain(worker)
            worker.wait_for(lambda report: report["state"] == "consuming", "it consumes again")
    rig.settle(seconds=300)  # at its own pace: what flowed while it was marked
    assert rig.account().problems == {}


@pytest.mark.parametrize("spec", once(quick=["solo"], prefetch=4))
def test_a_busy_pool_scales_down_by_its_victims_alone(rig: Rig, spec: Spec) -> None:
    pods = rig.start(spec, spec, spec)
    slots = 3 * spec.slots_in_truth
    tasks = [f"t{number:02}" for number in range(18)]
    rig.send(*tasks[:slots], args=[1.5])
    rig.send(*tasks[slots:], args=[0.5])
    rig.busy(slots)
    tokens = {pod: rig.mark(pod) for pod in pods[:2]}
    for pod, token in tokens.items():
        rig.drained(pod, token)
    for pod in tokens:
        pod.terminate()
    rig.settle()
    assert rig.account().problems == {}


@pytest.mark.full
@pytest.mark.parametrize(
    "spec",
    [
        param(Spec(version, "prefork", True, prefetch=4, arguments=("--max-tasks-per-child", "1")), quick=False)
        for version in ("5.3", "5.7")
    ],
)
def test_children_that_live_for_one_task_each(rig: Rig, spec: Spec, request: pytest.FixtureRequest) -> None:
    count = 1000 if request.config.option.markexpr == "agent" else 40
    [worker] = rig.start(spec)
    rig.send(*(f"t{number:04}" for number in range(count)))
    rig.wait_for(lambda: len(rig.ledger.ended()) > count // 4, "a quarter is done", seconds=120)
    rig.drain(worker)
    rig.undrain(worker)
    rig.settle(seconds=240)
    assert rig.account().problems == {}
    assert len({line.pid for line in rig.ledger.lines()}) == count
