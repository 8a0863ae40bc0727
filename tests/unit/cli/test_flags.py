"""Flags of the operator that are refused where they would serve nobody."""

import pytest
from click.testing import CliRunner

from celeriac.__main__ import SELECTOR, main

pytestmark = pytest.mark.unit

GOOD = (
    *("team=shop", "team==shop", "team!=shop", "team", "!team", "team=", "example.com/team=shop"),
    *("team in (shop)", "team in (shop, billing)", "team notin (shop),tier=1", " team = shop , !legacy "),
)
BAD = ("team shop", "=shop", ",", "team,", "team in shop", "team in", "!", "team=a b", "a=b,,c=d", "t\u00e9am=shop")


@pytest.mark.parametrize("selector", GOOD)
def test_a_selector_that_the_api_server_takes_is_taken(selector: str) -> None:
    assert SELECTOR.fullmatch(selector)


@pytest.mark.parametrize("selector", BAD)
def test_one_that_it_would_refuse_with_each_list_is_refused_at_the_start(selector: str) -> None:
    done = CliRunner().invoke(main, ["--pool-selector", selector])
    assert done.exit_code == 2
    assert "is no label selector: KEY=VALUE" in done.output
