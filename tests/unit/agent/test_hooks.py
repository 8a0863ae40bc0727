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
