"""CeleryWorkerPools in files: what `kubectl apply -f` would take, without a cluster."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml

from celeriac.api.names import API_VERSION, GROUP, KIND

STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class Document:
    """One CeleryWorkerPool and the file that it comes from."""

    file: str
    body: dict[str, Any]

    @property
    def place(self) -> str:
        """File and name, to begin a message with."""
        metadata = self.body.get("metadata")
        name = metadata.get("name", "(no name)") if isinstance(metadata, dict) else "(no name)"
        return f"{self.file}: {name}"

    @property
    def wrong_version(self) -> str | None:
        """What is wrong with its apiVersion, if anything."""
        version = self.body.get("apiVersion")
        return None if version == API_VERSION else f"apiVersion is {version}: write {API_VERSION}"


@dataclass(frozen=True, slots=True)
class BadDocument:
    """Something in a file that no CeleryWorkerPool can be taken from, and why."""

    place: str
    message: str


def read(file: str) -> list[Document | BadDocument]:
    """The CeleryWorkerPools of a YAML or JSON file, and what is in their place; `-` is standard input.

    Other kinds are passed over; a file without any pool is a bad one.
    """
    try:
        text = sys.stdin.read() if file == STANDARD_INPUT else Path(file).read_text(encoding="utf-8")
        documents = list(yaml.safe_load_all(text))
    except (OSError, UnicodeDecodeError) as error:
        return [BadDocument(file, f"cannot be read: {error}")]
    except yaml.YAMLError as error:
        return [BadDocument(file, f"is no YAML: {error}")]
    found = [each for document in documents if document is not None for each in _pools(file, document)]
    return found or [BadDocument(file, f"no {KIND} in it: give a manifest with `kind: {KIND}`")]


def read_pools(file: str) -> list[Document]:
    """The CeleryWorkerPools of a file. Raises click.ClickException for the first thing that is wrong with it."""
    pools = []
    for each in read(file):
        problem = each.message if isinstance(each, BadDocument) else each.wrong_version
        if isinstance(each, BadDocument) or problem:
            raise click.ClickException(f"{each.place}: {problem}")
        pools.append(each)
    return pools


def _pools(file: str, document: Any) -> Iterator[Document | BadDocument]:
    """The pools of one document of a file; those of a List (`kubectl get -o yaml`) one by one."""
    if not isinstance(document, dict):
        yield BadDocument(file, "is no Kubernetes manifest: an object with apiVersion and kind is one")
        return
    kind, group = document.get("kind"), str(document.get("apiVersion")).partition("/")[0]
    items = document.get("items")
    if kind == "List" and isinstance(items, list):
        for item in items:
            yield from _pools(file, item)
    elif kind == KIND:
        yield Document(file, document)
    elif group == GROUP:
        yield BadDocument(file, f"kind is {kind}: {group} has {KIND} only")
