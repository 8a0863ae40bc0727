"""Who was seen before the end of a container, and who after it."""

from dataclasses import replace

import pytest

from celeriac.brokers.agents import Process
from celeriac.pool.model import QueueLayout
from celeriac.recovery.sightings import Sighting, Sightings, name_of
from tests.unit.builders.workers import process

pytestmark = pytest.mark.unit

ENTRY = process().entry


class Looks:
    """Looks at one pool, two seconds apart."""

    def __init__(self) -> None:
        self.sightings = Sightings()
        self.now = 1000.0

    def look(self, *found: Process, seconds: float = 2.0, **ends: str) -> dict[str, Sighting]:
        """What is known after it, by process. `ends` are by Pod."""
        self.now += seconds
        told = self.sightings.look(found, {ENTRY: ends}, self.now)
        return {each.process: told[name_of(each)] for each in found}

    def one(self, found: Process, seconds: float = 2.0, **ends: str) -> Sighting:
        return self.look(found, seconds=seconds, **ends)[found.process]


def test_silence_begins_with_the_first_look_and_anew_with_each_report() -> None:
    looks = Looks()
    assert looks.one(process(reported=7)).silent_seconds == 0.0
    assert looks.one(process(reported=7), 29.0).silent_seconds == 29.0
    assert looks.one(process(reported=8), 1.0).silent_seconds == 0.0
    assert looks.one(process(reported=8), 10.0).silent_seconds == 10.0


def test_a_worker_that_has_never_reported_is_silent_from_the_first_look_on() -> None:
    looks = Looks()
    looks.one(process())
    assert looks.one(process(), 31.0).silent_seconds == 31.0


def test_whose_reports_nobody_could_hear_is_not_silent_and_others_are() -> None:
    looks = Looks()
    looks.look(process("a"), process("b"))
    looks.look(process("a"), seconds=5.0)
    told = looks.look(process("a"), process("b"), seconds=5.0)
    assert [each.silent_seconds for each in told.values()] == [10.0, 0.0]


def test_the_silence_of_a_process_is_nothing_to_one_of_the_same_name_in_another_registry() -> None:
    looks = Looks()
    evil = process(layout=QueueLayout("evil:"), reported=2)
    looks.look(process(reported=1))
    assert looks.one(evil, 10.0).silent_seconds == 0.0


def test_who_reports_after_the_end_was_seen_has_outlived_it() -> None:
    looks = Looks()
    assert looks.one(process(reported=1)).outlived is None
    assert looks.one(process(reported=9), a="x").outlived is None, "its last words may have been read before that"
    assert looks.one(process(reported=12), a="x").outlived is None, "they came between this reading and the last"
    assert looks.one(process(reported=12), a="x").outlived is None
    assert looks.one(process(reported=13), a="x").outlived == "x"
    assert looks.one(process(reported=13), 600.0, a="x").outlived == "x", "and says nothing more for long"


def test_who_appears_after_the_end_was_seen_is_younger() -> None:
    looks = Looks()
    looks.look(a="x")
    looks.look(a="x")
    assert looks.one(process(reported=1), a="x").outlived == "x"


def test_who_appears_while_the_end_is_being_seen_may_have_been_there_before() -> None:
    looks = Looks()
    looks.look()
    assert looks.one(process(reported=1), a="x").outlived is None
    other = Looks()
    other.look(a="x")
    assert other.one(process(reported=1), a="x").outlived is None, (
        "it came between the reading and the sight of the end"
    )


def test_another_end_is_another_question() -> None:
    looks = Looks()
    for _ in range(2):
        looks.look(a="x")
    looks.one(process(reported=1), a="x")
    looks.one(process(reported=2), a="y")
    told = looks.one(process(reported=3), a="y")
    assert told.outlived == "x"
    assert looks.one(process(reported=4), a="y").outlived == "y"


def test_a_reading_that_failed_proves_nobody_younger() -> None:
    looks = Looks()
    for _ in range(2):
        looks.look(a="x")
    looks.sightings.look((), {}, looks.now)
    assert looks.one(process(reported=1), a="x").outlived is None


def test_a_process_gives_way_to_another_that_reports_from_its_pod() -> None:
    looks = Looks()
    heir = replace(process("a", reported=5), process="ml-a.00000002")
    told = looks.look(process("a", reported=None), heir, process("b", reported=None))
    assert [each.displaced for each in told.values()] == [True, False, False]
