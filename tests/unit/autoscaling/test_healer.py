"""Who takes nothing is started anew: one at a time, seldom, and not where that cannot be the cure; in virtual time."""

from dataclasses import replace
from typing import Any

import pytest

from celeriac.autoscaling.drain_marker import Marking, told_to_stop
from celeriac.autoscaling.healer import MOST_IN_AN_HOUR, PAUSE_SECONDS, STOP_SECONDS, Healer, Healing
from celeriac.brokers.agents import STOP_ONE
from celeriac.workers.responses import Lapse, Responses
from celeriac.workers.worker import Worker, Workers, restarting
from tests.unit.builders.workers import pod, report

pytestmark = pytest.mark.unit


class Ward:
    """Workers a, b, c...; those who are `ill` take nothing."""

    def __init__(self, uids: str = "abc", ill: str = "", **said: Any) -> None:
        self.now, self.healer, self.ill = 1000.0, Healer(1000.0), set(ill)
        self.pods = {uid: pod(uid) for uid in uids}
        self.reports = {uid: report(uid, **said) for uid in uids}

    def look(self, seconds: float = 1.0) -> Healing:
        self.now += seconds
        lapses = tuple(Lapse(self.pods[uid].name, 60.0) for uid in sorted(self.ill))
        workers = [Worker(self.pods[uid], self.reports.get(uid), True, 4) for uid in self.pods]
        return self.healer.step(Workers(tuple(workers), {}), Responses(len(workers), not_fetching=lapses), self.now)

    def starts_anew(self, uid: str, *, well: bool = True) -> None:
        """Its container; from now on it takes messages, or does not."""
        old = self.reports[uid]
        self.reports[uid] = replace(old, process=f"{old.process}x", delivered=3 if well else 0, state="consuming")
        if well:
            self.ill.discard(uid)

    def healed(self, seconds: float, *, well: bool = True) -> list[str]:
        """Names of who was told to stop in so long; each is started anew at once."""
        told = []
        for _ in range(round(seconds)):
            for name in self.look().begun:
                told.append(name.removeprefix("ml-"))
                self.starts_anew(told[-1], well=well)
        return told


def test_who_takes_nothing_is_told_to_stop_and_its_mark_goes_as_soon_as_it_stops() -> None:
    ward = Ward(ill="b")
    first = ward.look()
    assert (first.begun, [(each.name, start) for each, start in first.stop]) == (
        ("ml-b",),
        [("ml-b", "ml-b.00000001")],
    )
    ward.pods["b"] = replace(ward.pods["b"], drain_token=Marking(restart=first.stop).token_for(ward.pods["b"]))
    assert restarting(ward.pods["b"]) == "ml-b.00000001"
    assert not told_to_stop(ward.pods["b"]), "its successor is not meant"
    assert ward.look().release == ()
    ward.reports["b"] = replace(ward.reports["b"], state="stopping")
    assert [each.name for each in ward.look().release] == ["ml-b"]


def test_one_at_a_time_and_one_a_minute() -> None:
    ward = Ward("abcd", ill="abc")
    assert ward.healed(PAUSE_SECONDS - 1) == ["c"]
    assert ward.healed(2 * PAUSE_SECONDS + 2) == ["b", "a"]


def test_the_next_has_to_wait_until_the_first_has_ended_what_it_runs() -> None:
    ward = Ward("abcd", ill="ab")
    assert ward.look().begun == ("ml-b",)
    ward.reports["b"] = replace(ward.reports["b"], state="stopping", active=1)
    assert [ward.look(60.0).begun for _ in range(10)] == [()] * 10
    ward.starts_anew("b")
    assert ward.look().begun == ("ml-a",)


def test_where_all_take_nothing_one_is_tried_and_no_more_unless_it_helped() -> None:
    ward = Ward(ill="abc")
    assert ward.healed(600, well=False) == ["c"]
    assert ward.look().why_not == "1 of them were started anew in vain"
    ward = Ward(ill="abc")
    assert sorted(ward.healed(600)) == ["a", "b", "c"]


def test_two_in_vain_are_enough_and_six_an_hour_as_well() -> None:
    ward = Ward("abcdef", ill="abcd")
    assert ward.healed(600, well=False) == ["d", "c"]
    many = Ward("abcdefghij", ill="abcdefghi")
    assert len(many.healed(1800)) == MOST_IN_AN_HOUR
    assert many.look().why_not == "6 of them were started anew within an hour"
    assert len(many.healed(2100)) == 3, "an hour later it goes on"


@pytest.mark.parametrize("said", [{"scheduled": 3}, {"signals": False}, {"refusal": "OOM"}])
def test_who_has_another_reason_or_cannot_be_stopped_is_left_alone(said: dict[str, Any]) -> None:
    ward = Ward(ill="b", **said)
    assert ward.healed(120) == []
    assert ward.look().why_not is not None


def test_who_holds_what_it_does_not_start_is_another_matter() -> None:
    healer, worker = Healer(0.0), Worker(pod("a"), report("a"), True, 4)
    found = Responses(2, not_fetching=(Lapse("ml-a", 400.0, unstarted=4),))
    assert healer.step(Workers((worker,), {}), found, 0.0) == Healing()


def test_who_does_not_stop_is_given_up() -> None:
    ward = Ward(ill="b")
    first = ward.look()
    ward.pods["b"] = replace(ward.pods["b"], drain_token=Marking(restart=first.stop).token_for(ward.pods["b"]))
    assert ward.look(STOP_SECONDS - 2).release == ()
    assert [each.name for each in ward.look(3.0).release] == ["ml-b"]


def test_the_limits_outlast_the_operator() -> None:
    """One that is killed after each try, which its status has told, or only the mark of the Pod."""
    ward, vain = Ward("abcdefghij", ill="abcdefghi"), Ward("abcdef", ill="abcd")
    found = {}
    for each, well in ((ward, True), (vain, False)):
        told, found[well] = Healing(), list[str]()
        for _ in range(40):
            each.healer = Healer(each.now, told.tries, told.vain)
            found[well] += each.healed(PAUSE_SECONDS + 1, well=well)
            told = each.look()
    assert len(found[True]) == MOST_IN_AN_HOUR
    assert found[False] == ["d", "c"]
    marked = Ward(ill="ab")
    marked.pods["b"] = replace(marked.pods["b"], drain_token=f"{STOP_ONE}ml-b.00000001-0a1b")
    assert [(each.name, start) for each, start in marked.look().stop] == [("ml-b", "ml-b.00000001")]
    marked.starts_anew("b")
    again = marked.look()
    assert ([each.name for each in again.release], again.tries, again.vain, again.begun) == (["ml-b"], 1, 0, ())


def test_a_mark_that_an_earlier_leader_left_is_taken_away() -> None:
    ward = Ward()
    ward.pods["a"] = replace(ward.pods["a"], drain_token=f"{STOP_ONE}ml-a.00000001-0a1b")
    assert ward.look().release == (), "it may still stop"
    assert [each.name for each in ward.look(STOP_SECONDS).release] == ["ml-a"]
    workers = Workers(tuple(Worker(each, None, False, 4) for each in ward.pods.values()), {"a": "x"})
    assert workers.marked == [], "and means no drain"
    resting = Healer(0.0).rest(workers)
    assert resting is not None
    assert [each.name for each in resting.release] == ["ml-a"]
