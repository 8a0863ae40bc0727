"""What a broker says, as people get to see it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.api.words import LONGEST_FOREIGN, foreign, quoted

pytestmark = pytest.mark.unit

ANY = st.text(st.characters())  # halves of characters too


def test_what_is_printable_stays_as_it_is() -> None:
    assert (foreign("shop.tasks.Größe"), quoted("mail")) == ("shop.tasks.Größe", "'mail'")
    assert quoted("it's") == r"'it\'s'"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\r\nb", r"a\r\nb"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\x00\x7f\x9b", r"\x00\x7f\x9b"),
        ("\u202eabc\u2066", r"\u202eabc\u2066"),
        ("\u2028\u200b\ufeff", r"\u2028\u200b\ufeff"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_steers_a_terminal_or_misleads_a_reader_is_escaped(text: str, shown: str) -> None:
    assert foreign(text) == shown


@given(ANY, st.integers(1, 50))
def test_whatever_it_is_it_is_printable_and_bounded(text: str, most: int) -> None:
    for shown in (foreign(text, most), quoted(text)):
        assert shown.isprintable()
    assert len(foreign(text, most)) <= most
    shown.encode()


def test_a_megabyte_is_cut() -> None:
    assert foreign("x" * 2**20) == "x" * (LONGEST_FOREIGN - 1) + "…"
    assert len(foreign("\x1b" * 2**20)) == LONGEST_FOREIGN
