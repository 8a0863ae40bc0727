"""A book keeps every line once, and gives back from its file what was entered."""

import json
import threading
from pathlib import Path

import pytest

from tests.ledger.book import Book, read
from tests.ledger.lines import Event, Line

pytestmark = pytest.mark.unit


def test_a_book_gives_back_from_its_file_what_was_entered(tmp_path: Path) -> None:
    book = Book(tmp_path / "folder" / "cell.jsonl")
    book.note(Event.SENT, task="a")
    book.note(Event.SCALED, before=0, after=3)
    book.note(Event.LEFT, key="unacked")
    assert read(book.file) == list(book.lines())
    assert json.loads(book.file.read_text().splitlines()[1]).keys() == {"event", "time", "after"}


def test_a_line_that_the_reader_gives_twice_is_kept_once(tmp_path: Path) -> None:
    book = Book(tmp_path / "cell.jsonl")
    text = '{"event": "started", "task": "a", "pod": "p", "pid": 7, "time": 1.5}'
    for _ in range(2):
        book.add(Line.parse(text))
    assert len(book.lines()) == len(read(book.file)) == book.count(Event.STARTED) == 1


def test_waiting_ends_with_the_line_that_was_waited_for(tmp_path: Path) -> None:
    book = Book(tmp_path / "cell.jsonl")
    other = threading.Thread(target=book.note, args=(Event.SENT,), kwargs={"task": "a"})
    other.start()
    assert book.wait(lambda lines: len(lines) == 1, seconds=10)
    other.join()
    assert not book.wait(lambda lines: len(lines) == 2, seconds=0.01)


def test_what_is_no_line_of_a_ledger_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown"):
        Line.parse('{"event": "unknown", "time": 1}')
