"""What the ledger sends, and through which cells."""

from itertools import product

import pytest

from celeriac.pool.parse import parse_pool
from tests.cluster.images import PUBLIC
from tests.ledger.cells import ALL, DJANGO_IMAGE, PYTHONS, TODAY, TODAY_VERSIONS, Cell, select
from tests.ledger.load import LONGEST, SHORTEST, Load, Then

pytestmark = pytest.mark.unit


def test_a_load_is_three_hundred_tasks_from_a_twentieth_of_a_second_to_most_of_twenty_seconds() -> None:
    waves = list(Load().sent("seed"))
    seconds = [each for wave in waves for each in wave.seconds]
    assert (len(waves), len(seconds)) == (6, 300)
    assert min(seconds) == SHORTEST
    assert 0.9 * LONGEST < max(seconds) <= LONGEST
    assert sorted(seconds)[150] < 1


def test_the_same_seed_sends_the_same_and_another_one_does_not() -> None:
    assert list(Load().sent("1 a")) == list(Load().sent("1 a"))
    assert list(Load().sent("1 a")) != list(Load().sent("2 a"))


def test_half_of_the_waves_come_while_the_pool_still_shrinks_and_the_last_one_ends_at_zero() -> None:
    assert [wave.then for wave in Load().sent("seed")] == [Then.SURGE, Then.EBB] * 3
    assert [len(wave.seconds) for wave in Load(tasks=11, waves=3).sent("seed")] == [4, 4, 3]


def test_there_is_a_cell_for_every_version_pool_and_acknowledgement_and_some_that_hold_nothing_ahead() -> None:
    assert len({cell.name for cell in ALL if cell.prefetch}) == 2 * 5 * 2
    assert len({cell.name for cell in ALL if not cell.prefetch and not cell.django}) == 2 * 5


def test_a_django_project_is_told_of_in_each_minor_version_and_what_pip_resolves_now_on_each_python() -> None:
    told = {cell.celery for cell in ALL if cell.django}
    assert told == {file.stem.removeprefix("celery-") for file in DJANGO_IMAGE.glob("*.txt")}
    assert {(cell.celery, cell.python) for cell in TODAY} == {*product(TODAY_VERSIONS, PYTHONS)} - {("5.7", "3.9")}
    assert len({cell.image.tag for cell in TODAY}) == len({cell.name for cell in TODAY}) == len(TODAY)
    assert {f"docker.io/library/python:{python}-slim" for python in PYTHONS} <= set(PUBLIC)


@pytest.mark.parametrize("cell", [*ALL, *TODAY], ids=lambda cell: cell.name)
def test_every_cell_is_a_valid_pool(cell: Cell) -> None:
    spec = {"image": cell.image.tag, "app": "ledger_app", "broker": {"url": "redis://redis:6379/0"}, **cell.spec()}
    metadata = {"name": "ledger", "namespace": "here", "uid": "1", "generation": 1}
    parse_pool({"apiVersion": "celeriac.dev/v1alpha1", "kind": "CeleryWorkerPool", "metadata": metadata, "spec": spec})


def test_cells_are_selected_by_parts_of_their_names_in_the_order_of_the_table() -> None:
    assert [cell.name for cell in select(["solo-late", "5.3-solo"])] == [
        "5.3-solo-early",
        "5.3-solo-late",
        "5.7-solo-late",
        "5.3-solo-late-noprefetch",
    ]
    assert select([]) == list(ALL)


def test_a_part_of_no_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match=r"no cell matches 'sollo'; there are 5\.3-solo-early"):
        select(["sollo"])
