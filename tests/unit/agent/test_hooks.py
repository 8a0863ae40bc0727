"""What the agent can do without one of its hooks."""

import pytest
from celeriac_agent import hooks

pytestmark = pytest.mark.unit


def test_all_hooks_are_there_in_the_celery_of_this_project() -> None:
    found = hooks.Hooks()
    assert found.missing == []
    assert found.capabilities() == ["inflight", "drain", "exact"]


@pytest.mark.parametrize("name", sorted(hooks.HOOKS))
def test_a_missing_hook_is_named_and_takes_away_what_stands_on_it(name: str) -> None:
    found = hooks.Hooks([name])
    assert found.missing == [name]
    assert ("inflight" in found.capabilities()) == (name not in hooks.INFLIGHT)
    assert ("drain" in found.capabilities()) == (name not in hooks.DRAIN)
    assert ("exact" in found.capabilities()) == (name not in hooks.EXACT)


def test_own_keys_that_may_not_be_registered_are_no_capability() -> None:
    found = hooks.Hooks()
    found.lose("registry")
    assert found.capabilities() == ["exact"]


@pytest.mark.parametrize(
    ("level", "capabilities"), [("report", []), ("inflight", ["inflight"]), ("drain", ["inflight", "drain", "exact"])]
)
def test_a_level_claims_what_it_includes_and_no_more(level: str, capabilities: list[str]) -> None:
    found = hooks.Hooks(level=level)
    assert (found.capabilities(), found.missing) == (capabilities, [])


@pytest.mark.parametrize(
    ("level", "missing"),
    [
        ("report", {"connection-pool", "worker-state", "timer-queue"}),
        ("inflight", {"connection-pool", "worker-state", "timer-queue", "started-mark", "refusals", *hooks.INFLIGHT}),
        ("drain", set(hooks.HOOKS)),
    ],
)
def test_a_hook_that_the_level_does_not_use_is_not_missing_and_not_there(level: str, missing: set[str]) -> None:
    found = hooks.Hooks(hooks.HOOKS, level)
    assert set(found.missing) == missing
    for name in hooks.HOOKS:
        found.lose(name)
        assert not found.have(name)
    assert set(found.missing) == missing


@pytest.mark.parametrize(
    ("word", "level"),
    [("report", "report"), ("inflight", "inflight"), ("drain", "drain"), ("enabled", "report"), ("all", "report")],
)
def test_a_level_that_is_not_known_touches_nothing(word: str, level: str) -> None:
    assert hooks.level_of(word) == level
