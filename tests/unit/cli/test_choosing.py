"""What people type for a pool, a pod or a time, and what is made of it."""

from datetime import datetime

import click
import pytest
from click.testing import CliRunner

from celeriac.cli.choosing import pod_argument, pool_argument
from celeriac.cli.kubectl_ask import _moment

pytestmark = pytest.mark.unit


@click.command()
@pool_argument()
@pod_argument()
def chosen(name: str, pod: str) -> None:
    click.echo(f"{name} {pod}")


@pytest.mark.parametrize("pool", ["ml", "cwp/ml", "celeryworkerpool/ml", "celeryworkerpool.celeriac.dev/ml"])
@pytest.mark.parametrize("pod", ["ml-1", "pod/ml-1", "pods/ml-1"])
def test_a_name_may_stand_behind_its_kind_as_kubectl_prints_it(pool: str, pod: str) -> None:
    assert CliRunner().invoke(chosen, [pool, pod]).output == "ml ml-1\n"


@pytest.mark.parametrize("pool", ["", "pod/ml", "../ml", "ML", "a b", "cwp/", "m" * 254])
def test_what_no_pool_can_be_called_is_refused_before_the_cluster_is_asked(pool: str) -> None:
    result = CliRunner().invoke(chosen, [pool, "ml-1"])
    assert result.exit_code == 2
    assert "is no name: type it alone, or as cwp/NAME" in result.output


def test_a_time_without_a_day_is_of_the_last_day() -> None:
    now = datetime.now().astimezone()
    told = [_moment(f"{hour:02}:30") for hour in range(24)]
    assert all(0 <= (now - moment).total_seconds() <= 25 * 3600 for moment in told)
    assert _moment("2020-01-01T00:00:00Z").year == 2020
    with pytest.raises(click.BadParameter, match="is no time"):
        _moment("noon")
