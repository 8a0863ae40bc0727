"""What the workers say of the layout of their queues is taken over where the spec is silent, within bounds."""

import pytest
import yaml

from celeriac.pool.layouts import (
    LONGEST_SEPARATOR,
    MOST_STEPS,
    PRIORITY_STEPS,
    SEPARATOR,
    effective_layout,
    is_believable,
    layout_difference,
    layout_fields,
    layout_of,
)
from celeriac.pool.model import BrokerSpec, QueueLayout, WorkerPool
from celeriac.pool.parse import parse_pool
from tests.unit.builders.pools import pool

pytestmark = pytest.mark.unit

TEN = QueueLayout(separator=":", priority_steps=tuple(range(10)))


def saying(*said: str, **layout: object) -> WorkerPool:
    """A pool whose spec has these fields of its own."""
    own = QueueLayout("shop:", **layout)  # type: ignore[arg-type]
    return pool(broker=BrokerSpec(url="redis://redis:6379/0", layout=own), layout_said=frozenset(said))


def test_a_spec_that_is_silent_believes_its_workers_and_keeps_its_own_prefix() -> None:
    silent = saying()
    assert effective_layout(silent, None) == QueueLayout("shop:")
    assert effective_layout(silent, TEN) == QueueLayout("shop:", ":", tuple(range(10)))
    assert layout_difference(silent, TEN) is None


def test_each_field_that_the_spec_says_wins_and_a_difference_names_the_value_to_write() -> None:
    spec = saying(SEPARATOR, separator="|")
    assert effective_layout(spec, TEN) == QueueLayout("shop:", "|", tuple(range(10)))
    message = layout_difference(spec, TEN)
    assert message is not None
    assert 'the separator ":" instead of "|": set spec.broker.separator: ":"' in message
    assert "prioritySteps" not in message
    both = layout_difference(saying(SEPARATOR, PRIORITY_STEPS), TEN)
    assert both is not None
    written = both.split("spec.broker.prioritySteps: ")[1].partition("]")[0] + "]"
    assert yaml.safe_load(written) == list(range(10))
    assert layout_difference(saying(SEPARATOR, PRIORITY_STEPS), QueueLayout()) is None


@pytest.mark.parametrize(
    "layout",
    [
        QueueLayout(separator=""),
        QueueLayout(separator="x" * (LONGEST_SEPARATOR + 1)),
        QueueLayout(priority_steps=()),
        QueueLayout(priority_steps=(1, 2)),
        QueueLayout(priority_steps=(0, 6, 3)),
        QueueLayout(priority_steps=(0, 3, 3)),
        QueueLayout(priority_steps=(0, 256)),
        QueueLayout(priority_steps=tuple(range(MOST_STEPS + 1))),
    ],
    ids=str,
)
def test_what_would_make_strange_keys_is_not_believed_and_told(layout: QueueLayout) -> None:
    assert not is_believable(layout)
    message = layout_difference(saying(), layout)
    assert message is not None
    assert "as the operator cannot" in message
    assert layout_of(layout_fields(layout)) is None


def test_a_layout_comes_back_from_a_status_and_nothing_else_does() -> None:
    assert layout_of(layout_fields(TEN)) == TEN
    for wrong in (None, {}, {"separator": ":"}, {"separator": 1, "prioritySteps": [0]}):
        assert layout_of(wrong) is None
    assert layout_of({"separator": ":", "prioritySteps": [0, True]}) is None
    assert layout_of({"separator": ":", "prioritySteps": "0"}) is None


def test_the_parser_tells_what_the_owner_wrote_from_a_default() -> None:
    def said(**layout: object) -> frozenset[str]:
        broker = {"url": "redis://redis:6379/0", **layout}
        metadata = {"name": "ml", "namespace": "shop", "uid": "1"}
        return parse_pool({"metadata": metadata, "spec": {"image": "a", "app": "a", "broker": broker}}).layout_said

    assert said() == frozenset()
    assert said(keyPrefix="x") == frozenset()
    assert said(separator="\x06\x16") == {SEPARATOR}
    assert said(prioritySteps=[0, 3, 6, 9], separator=":") == {SEPARATOR, PRIORITY_STEPS}
