"""What a command of a page asks of a program that this program does not know. Words in capitals stand for something."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from unittest.mock import patch

import click
from click.testing import CliRunner

from celeriac.cli.kubectl import celery
from celeriac.cli.main import main
from tests.doc_commands import ROOT

MAKEFILE: Final = (ROOT / "Makefile").read_text()
VALUES: Final[Mapping[str, Any]] = json.loads((ROOT / "charts/celeriac/values.schema.json").read_text())
HELM_VERBS: Final = ("get", "install", "rollback", "template", "test", "uninstall", "upgrade")
KUBECTL_VERBS: Final = (
    *("apply", "autoscale", "create", "delete", "describe", "drain", "exec", "explain", "get", "krew", "kustomize"),
    *("label", "logs", "patch", "port-forward", "replace", "rollout", "run", "scale", "top", "wait"),
)
KINDS: Final = (
    *("cwp", "celery", "celeryworkerpools", "celerypoolrequests", "clusterrolebinding", "configmap", "configmaps"),
    *("crd", "deployment", "hpa", "lease", "namespace", "node", "pod", "pods", "replicaset", "rolebinding"),
    *("scaledobject", "secret", "service", "triggerauthentication"),
)
OF_A_KIND: Final = ("create", "delete", "describe", "get", "label", "patch", "scale", "autoscale")

Wrong = str | None
"""What there is not, in a sentence; None where all is there."""


def kubectl(words: Sequence[str]) -> Wrong:
    """A verb and a kind; what belongs to the plugin is the plugin's."""
    if words[:1] == ["celery"]:
        return _click(celery, words[1:])
    if words[:1] == ["-n"]:
        words = words[2:]
    verb, *rest = words
    if verb not in KUBECTL_VERBS:
        return f"kubectl has no verb {verb}"
    if verb in OF_A_KIND and rest and not rest[0].startswith("-"):
        kinds = re.sub(r"/.*", "", rest[0]).split(",")
        return next((f"there is no kind {kind}" for kind in kinds if kind not in KINDS), None)
    return None


def celeriac(words: Sequence[str]) -> Wrong:
    """What its own parser says."""
    return _click(main, words)


def helm(words: Sequence[str]) -> Wrong:
    """A verb, a chart of this checkout, and values that this chart has."""
    verb, *rest = words
    if verb not in HELM_VERBS:
        return f"helm has no verb {verb}"
    for word in rest:
        if word.startswith("charts/") and not (ROOT / word / "Chart.yaml").exists():
            return f"there is no chart {word}"
    keys = [rest[index + 1].partition("=")[0] for index, word in enumerate(rest) if word == "--set"]
    return next((f"the chart has no value {key}" for key in keys if not _is_value(key)), None)


def make(words: Sequence[str]) -> Wrong:
    """Targets, and variables that the Makefile reads."""
    targets = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, flags=re.MULTILINE))
    for word in words:
        name, assigned, _ = word.partition("=")
        if assigned and f"$({name})" not in MAKEFILE:
            return f"the Makefile reads no {name}"
        if not assigned and not word.startswith("-") and word not in targets:
            return f"the Makefile has no target {word}"
    return None


def docker(words: Sequence[str]) -> Wrong:
    """The folder and the Dockerfile that it builds of."""
    if "build" not in words or words[-1] == "build":
        return None
    named = [*(words[index + 1] for index, word in enumerate(words) if word == "-f"), words[-1]]
    return next((f"there is no {name}" for name in named if not (ROOT / name).exists()), None)


def python(words: Sequence[str]) -> Wrong:
    """A module of the checkout or of the demo's image."""
    module = words[words.index("-m") + 1].replace(".", "/")
    places = [ROOT / folder / f"{module}{end}" for folder in ("", "worker-image") for end in (".py", "/__main__.py")]
    return None if any(place.exists() for place in places) else f"there is no module {module}"


def export(words: Sequence[str]) -> Wrong:
    """A variable that `celeriac` reads."""
    name = words[0].partition("=")[0]
    return None if name == "CELERY_BROKER_URL" else f"nothing reads {name}"


def uv(words: Sequence[str]) -> Wrong:
    """What it starts is looked at as if it were started by itself."""
    return python(words) if words[0] == "run" else None


PROGRAMS: Final[Mapping[str, Callable[[Sequence[str]], Wrong]]] = {
    each.__name__: each for each in (celeriac, docker, export, helm, kubectl, make, python, uv)
}


def _is_value(key: str) -> bool:
    schema = VALUES
    for name in key.split("."):
        if name not in schema.get("properties", {}):
            return schema is not VALUES and schema.get("additionalProperties") is not False
        schema = schema["properties"][name]
    return True


def _click(group: click.Group, words: Sequence[str]) -> Wrong:
    """The group's own parser, with commands that do nothing."""
    with _idle(group):
        done = CliRunner().invoke(group, list(words))
    return None if done.exit_code == 0 else done.output.strip().splitlines()[-1]


@contextmanager
def _idle(group: click.Group) -> Iterator[None]:
    with ExitStack() as stack:
        for command in _leaves(group):
            stack.enter_context(patch.object(command, "callback", lambda **_: None))
        yield


def _leaves(group: click.Group) -> Iterator[click.Command]:
    for command in group.commands.values():
        if isinstance(command, click.Group):
            yield from _leaves(command)
        else:
            yield command
