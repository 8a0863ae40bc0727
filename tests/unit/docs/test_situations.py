"""What a person reads in some hundred situations: reviewed in docs/troubleshooting.md, and the same in the program."""

import re

import pytest

from tests.situations import PAGE, PARTS, TABLE, Situation, page_with_situations

pytestmark = pytest.mark.unit

ALL = [situation for part in PARTS.values() for situation in part()]
WHAT_A_PERSON_TOUCHES = re.compile(
    r"spec\.|broker URL|maxclients|requirepass|maxmemory|redis\.conf|[A-Z]+ KILL|BGSAVE|min-replicas|Redis|kubectl"
    r"|ResourceQuota|LimitRange|Dockerfile|registry|node|Class|ServiceAccount|[Pp]olicy|reference|image|LDAP|limit|log"
    r"|allow list|namespace|ends Pods"
)


def test_the_page_shows_what_the_program_says() -> None:
    page = PAGE.read_text()
    assert {found[1] for found in TABLE.findall(page)} == set(PARTS)
    assert page_with_situations(page) == page, "run: make generate"


def test_a_hundred_situations_are_told_apart() -> None:
    assert len(ALL) >= 100
    assert len({situation.what for situation in ALL}) == len(ALL)


@pytest.mark.parametrize("situation", ALL, ids=[situation.what for situation in ALL])
def test_each_sentence_is_readable_and_says_what_to_do(situation: Situation) -> None:
    assert situation.message.isprintable()
    assert len(situation.message) <= 700
    _, _, cure = situation.message.rpartition(": ")
    assert WHAT_A_PERSON_TOUCHES.search(situation.message)
    assert cure
