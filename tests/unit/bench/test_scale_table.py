"""The table of `make bench-scale`: quantiles of few runs, and goals that are met or missed."""

from pathlib import Path

import pytest

from tests.bench.scale.figures import Figures, nearest_rank, read, write
from tests.bench.scale.table import Row, markdown
from tests.bench.scale.usage import Audit, summed

pytestmark = pytest.mark.unit

GOALS = {1000: 0.6, 5000: 2.0}


def test_p99_of_fewer_than_a_hundred_runs_is_the_slowest() -> None:
    assert nearest_rank([1.0, 2.0, 3.0], 0.99) == 3.0
    assert nearest_rank([float(n) for n in range(1, 201)], 0.99) == 198.0
    assert nearest_rank([1.0, 2.0, 3.0, 4.0], 0.5) == 2.0


def test_a_burst_that_is_never_answered_is_no_quick_one() -> None:
    figures = Figures(100)
    figures.sample("one", [0.2, 0.1, 0.3], wanted=4, limit=30)
    assert figures.values["one p50"] == 0.2
    assert figures.values["one p99"] == "> 30 (1 of 4 never)"
    assert Row("p99", "one p99", goals=GOALS).cell(figures) == ("> 30 (1 of 4 never)", False)


def test_a_goal_holds_up_to_its_number_of_pools() -> None:
    row = Row("p99", "one p99", goals=GOALS)
    cells = [row.cell(Figures(pools, {"one p99": 0.9})) for pools in (1, 1000, 5000, 9000)]
    assert [met for _, met in cells] == [False, False, True, None]


def test_a_goal_is_held_against_the_figure_that_is_shown() -> None:
    assert Row("requests", "requests", "{:.1f}", {1000: 3}).cell(Figures(1000, {"requests": 3.04})) == ("3.0", True)
    assert Row("commands", "commands", "{:,.0f}", {1000: 3000}).cell(Figures(1, {"commands": 42000.0})) == (
        "42,000",
        False,
    )


def test_what_no_column_has_is_no_row() -> None:
    table = markdown([Figures(1, {"a": 1.0}), Figures(5000, {"a": 3.0})], [Row("A", "a", goals=GOALS), Row("B", "b")])
    assert table.splitlines() == [
        "| figure | goal: at most | 1 | 5,000 |",
        "|---|---|---:|---:|",
        "| A | 0.6 (to 1,000), 2 (to 5,000) | **1.00 missed** | **3.00 missed** |",
    ]


def test_figures_of_one_run_stand_beside_those_of_another(tmp_path: Path) -> None:
    write(tmp_path / "kept.json", [Figures(1, {"a": 1.5}), Figures(100, {"a": "never"})])
    kept = read(tmp_path / "kept.json", "before")
    assert (kept[1].title, kept[1].values) == ("1 before", {"a": 1.5})
    assert kept[100].values == {"a": "never"}
    assert read(tmp_path / "none.json") == {}


def test_the_audit_log_is_read_on_and_over_a_rotation(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    event = (
        '{{"stage":"ResponseComplete","verb":"{}","user":{{"username":"{}"}},"requestReceivedTimestamp":'
        '"2026-01-01T00:00:{:02}.500000Z","objectRef":{{"resource":"{}"}}}}\n'
    )
    log.write_text(event.format("update", "op", 1, "leases") + event.format("get", "other", 2, "pods"))
    audit = Audit(log, "op")
    assert audit.read().counts == {("update", "leases"): 1}
    with log.open("a") as more:
        more.write(event.format("get", "op", 3, "pods"))
    log.rename(tmp_path / "audit-old.log")
    log.write_text(event.format("update", "op", 5, "leases") + event.format("get", "op", 6, "pods")[:20])
    found = audit.read()
    assert (found.reads(), found.writes(), found.writes(but="leases")) == (1, 1, 0)
    assert audit.longest_gap == 4.0


def test_a_metric_is_summed_over_its_labels() -> None:
    assert summed('a_sum{broker="x"} 1.5\na_sum{broker="y"} 2\na_sum_total 7\na_sum 0.5\n', "a_sum") == 4.0
