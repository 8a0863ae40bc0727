"""`celeriac evacuate` and `celeriac dead-letters` before they reach a Redis."""

import pytest
from click.testing import CliRunner

from celeriac.cli.main import main

pytestmark = pytest.mark.unit

NOTHING = {"CELERY_BROKER_URL": None}
COMMANDS = (
    ["evacuate"],
    ["dead-letters", "list"],
    ["dead-letters", "requeue", "mail"],
    ["dead-letters", "purge", "mail"],
)


@pytest.mark.parametrize("command", COMMANDS)
def test_without_a_broker_url_in_the_environment_the_variable_is_named(command: list[str]) -> None:
    result = CliRunner().invoke(main, command, env=NOTHING)
    assert (result.exit_code, "CELERY_BROKER_URL is not set" in result.output) == (2, True), result.output
    result = CliRunner().invoke(main, [*command, "--broker-url-env", "OTHER"], env=NOTHING)
    assert "OTHER is not set" in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_the_broker_url_is_never_an_argument(command: list[str]) -> None:
    text = CliRunner().invoke(main, [*command[:2], "--help"]).output
    assert "--broker-url-env" in text
    assert "--broker-url " not in text


def test_a_broker_of_another_kind_is_told_which_are_known() -> None:
    result = CliRunner().invoke(main, ["evacuate"], env={"CELERY_BROKER_URL": "amqp://celery:s3cr3t@rabbit//"})
    assert result.exit_code == 1
    assert "UnsupportedBroker" in result.output
    assert "redis://" in result.output
    assert "s3cr3t" not in result.output


def test_the_dangerous_options_name_their_danger() -> None:
    refused = CliRunner().invoke(main, ["evacuate", "--even-living"], env={"CELERY_BROKER_URL": "redis://redis/0"})
    assert "--even-living does nothing without --yes" in refused.output
    text = CliRunner().invoke(main, ["evacuate", "--help"]).output
    assert "RUN TWICE" in text
