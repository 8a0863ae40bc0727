"""The shared options of `kubectl celery` stand before the verb or behind it."""

import click
import pytest
from click.testing import CliRunner

from celeriac.cli import kubectl
from celeriac.cli.choosing import AnyOrder, all_namespaces, output
from celeriac.cli.completion import VARIABLE, print_completions

pytestmark = pytest.mark.unit


@click.group(cls=AnyOrder)
def root() -> None:
    """A plugin."""


@root.group(cls=AnyOrder)
def letters() -> None:
    """A verb that has verbs."""


@letters.command("list")
@click.argument("name", required=False)
@click.option("-n", "--namespace")
@all_namespaces
@output("json", "yaml")
def list_letters(name: str | None, namespace: str | None, all_namespaces: bool, output: str | None) -> None:
    click.echo(f"{name} {namespace} {all_namespaces} {output}")


@pytest.mark.parametrize(
    "words",
    [
        "letters list ml -n shop -o json",
        "-n shop letters list ml -o json",
        "-n shop -o json letters list ml",
        "-nshop -ojson letters list ml",
        "--namespace=shop --output=json letters list ml",
        "letters -n shop -o json list ml",
        "-n shop letters -o json list ml",
    ],
)
def test_options_stand_anywhere(words: str) -> None:
    assert CliRunner().invoke(root, words.split()).output == "ml shop False json\n"


def test_a_flag_takes_no_word() -> None:
    assert CliRunner().invoke(root, ["-A", "letters", "list"]).output == "None None True None\n"


def test_an_option_that_the_verb_does_not_know_is_refused_by_the_verb() -> None:
    result = CliRunner().invoke(root, ["-l", "team=ml", "letters", "list"])
    assert (result.exit_code, "No such option '-l'" in result.output) == (2, True), result.output


def test_an_unknown_verb_is_named() -> None:
    assert "No such command 'lst'" in CliRunner().invoke(root, ["-n", "shop", "lst"]).output


def test_verbs_and_options_are_completed_for_kubectl(capsys: pytest.CaptureFixture[str]) -> None:
    print_completions(kubectl.celery, ["dead"])
    verbs = capsys.readouterr().out.splitlines()
    assert verbs[0].startswith("dead-letters\t")
    assert verbs[-1] == ":4"
    print_completions(kubectl.celery, ["dead-letters", "re"])
    assert capsys.readouterr().out.splitlines()[0].startswith("requeue\t")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_completion(shell: str) -> None:
    result = CliRunner().invoke(kubectl.celery, ["completion", shell])
    assert (result.exit_code, "_KUBECTL_CELERY_COMPLETE" in result.output) == (0, True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_program_completes_where_the_script_of_a_shell_asks_it(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The script sets the variable that it was made with."""
    assert f"{VARIABLE}={shell}_complete" in CliRunner().invoke(kubectl.celery, ["completion", shell]).output
    monkeypatch.setenv(VARIABLE, f"{shell}_complete")
    monkeypatch.setenv("COMP_WORDS", "kubectl-celery dead-letters req")
    monkeypatch.setenv("COMP_CWORD", "req" if shell == "fish" else "2")
    with pytest.raises(SystemExit):
        kubectl.main()
    assert "requeue" in capsys.readouterr().out
