"""docs/how-it-works.md leads through the house as it is."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
HOUSE = ROOT / "operator" / "celeriac"
PAGE = (ROOT / "docs" / "how-it-works.md").read_text()
WALK = PAGE[PAGE.index("## A walk through the house") : PAGE.index("## What is known of the cluster")]
ROOMS = re.findall(r"`([\w/-]+\.py)`", WALK)

ASIDE = {"cli"}
"""The commands for people: neither a pool nor a report comes by."""


def test_each_room_of_the_walk_is_there_and_is_named_once() -> None:
    assert [room for room in ROOMS if not ((HOUSE / room).is_file() or (ROOT / room).is_file())] == []
    assert [room for room in set(ROOMS) if ROOMS.count(room) > 1] == []


def test_the_walk_leads_through_every_wing() -> None:
    wings = {folder.name for folder in HOUSE.iterdir() if (folder / "__init__.py").is_file()}
    assert wings - {room.partition("/")[0] for room in ROOMS} == ASIDE | {"api"}


@pytest.mark.parametrize(
    ("question", "room"),
    [
        ("where a victim is chosen", "scaling/victims.py"),
        ("who writes replicas", "autoscaling/scale_writer.py"),
        ("what marks a process gone", "recovery/gone.py"),
    ],
)
def test_three_questions_of_a_newcomer_are_answered_by_the_name_of_a_file(question: str, room: str) -> None:
    [sentence] = [part for part in re.split(r"(?<=[.:;])\s", " ".join(WALK.split())) if question in part]
    assert room in sentence
