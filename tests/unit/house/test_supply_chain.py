"""What is fetched from elsewhere is named by its content: a test finds whatever is not."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.dockerfile import base_images

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
KEPT_OUT = {".git", ".venv", "dist", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}
COMMANDS = ("Makefile", "Dockerfile", "run", "install-*", "*.py", "*.sh", "*.yaml", "*.yml", "*.tpl")
BY_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
ACTION = re.compile(r"^\s*(?:- )?uses:\s*[\"']?(?!\./)([^\s\"'#]+)", re.MULTILINE)
BY_COMMIT = re.compile(r"@[0-9a-f]{40}$")
COPIED_FROM = re.compile(r"^\s*(?:COPY|RUN)\b.*?(?:--|,)from=([^\s,]+)", re.MULTILINE | re.IGNORECASE)
STAGE = re.compile(r"^\s*FROM\s+.*?\s+AS\s+(\S+)", re.MULTILINE | re.IGNORECASE)
ELSEWHERE = re.compile(
    r"^#\s*syntax\s*=|^\s*ADD\s+(?:--\S+\s+)*(?:https?:|git@)|\b(?:curl|wget)\s+[^\n]*https?:"
    r"|\buvx\s|\buv\s+tool\s|\bpipx\s+(?:run|install)|\beasy_install\b|\bnpm\s+i|\bgo\s+(?:install|run)\s+\S+@",
    re.MULTILINE | re.IGNORECASE,
)
"""Ways to fetch and run what nothing names by its content."""
PIP = re.compile(r"\bpip\b[^\n]{0,80}?\binstall\b(?![-_])|[\"']pip[\"'],\s*[\"']install[\"']")
WITH_HASHES = re.compile(r"--require-hashes|\$\{PACKAGES\}")
"""The ledger's PACKAGES has hashes; `make ledger-today` gives others, to learn what pip resolves today."""
SPAN = 600
"""Characters of a command, from its first word on."""
REQUIREMENT = re.compile(r"^[A-Za-z0-9].*?(?=^[A-Za-z0-9]|\Z)", re.MULTILINE | re.DOTALL)


def files(*patterns: str) -> Iterator[Path]:
    """The project's own files of these names."""
    for pattern in patterns:
        for file in sorted(ROOT.rglob(pattern)):
            if file.is_file() and not KEPT_OUT & set(file.relative_to(ROOT).parts):
                yield file


def by_tag(dockerfile: str) -> set[str]:
    """The images that a Dockerfile starts from without a digest."""
    copied = set(COPIED_FROM.findall(dockerfile)) - set(STAGE.findall(dockerfile))
    return {image for image in {*base_images(dockerfile, {}), *copied} if not BY_DIGEST.search(image)}


def by_name(workflow: str) -> list[str]:
    """The actions that a workflow uses by a tag or a branch."""
    return [action for action in ACTION.findall(workflow) if not BY_COMMIT.search(action)]


def without_hashes(commands: str) -> list[str]:
    """The installations by pip or uv that ask for no hashes."""
    found = [commands[match.start() : match.start() + SPAN] for match in PIP.finditer(commands)]
    return [each.partition("\n")[0] for each in found if not WITH_HASHES.search(each)]


def without_hash(requirements: str) -> list[str]:
    """The requirements of a file that have no hash, or no version."""
    every = REQUIREMENT.findall(requirements)
    return [each.split()[0] for each in every if "==" not in each or "--hash=sha256:" not in each]


def test_images_start_from_a_digest_and_all_from_the_same() -> None:
    texts = [file.read_text() for file in files("*Dockerfile*") if file.suffix != ".py"]
    assert {image for text in texts for image in by_tag(text)} == set()
    assert len({image for text in texts for image in base_images(text, {})}) == 1
    assert by_tag("FROM redis:7 AS data\nFROM data\nFROM scratch") == {"docker.io/library/redis:7"}
    assert by_tag("FROM scratch AS a\nCOPY --from=a / /\nCOPY --link --from=tools:1 / /") == {"tools:1"}
    assert by_tag("FROM scratch\nRUN --mount=type=bind,from=tools:1,target=/x true") == {"tools:1"}
    assert by_tag(f"ARG BASE=python:3@sha256:{'a' * 64}\nFROM ${{BASE}}") == set()


def test_actions_are_used_by_commit() -> None:
    assert [name for file in files("*.yaml", "*.yml") for name in by_name(file.read_text())] == []
    bad = "steps:\n  - uses: actions/checkout@v5\n  - uses: ./local\n"
    assert by_name(f"{bad}  - uses: actions/cache@{'a' * 40} # v4\n") == ["actions/checkout@v5"]


def test_what_is_installed_has_hashes() -> None:
    own = Path(__file__)
    found = {str(f.relative_to(ROOT)): bad for f in files(*COMMANDS) if f != own if (bad := without_hashes(code(f)))}
    assert found == {}
    assert without_hashes("RUN python -m pip --quiet install celery") == ["pip --quiet install celery"]
    assert without_hashes("uv pip install --require-hashes -r x.txt") == []
    assert without_hashes('run(["uv", "pip", "install", "x"])') == ['"pip", "install", "x"])']


def test_nothing_is_fetched_and_run_in_another_way() -> None:
    own = Path(__file__)
    found = {str(f.relative_to(ROOT)): ELSEWHERE.findall(f.read_text(errors="replace")) for f in files(*COMMANDS)}
    assert {name: bad for name, bad in found.items() if bad and name != str(own.relative_to(ROOT))} == {}
    for bad in (
        "# syntax=docker/dockerfile:1\nFROM scratch",
        "ADD --chown=1 https://example.com/x /x",
        "RUN curl -sSf https://example.com/x | sh",
        "uvx ruff",
        "uv tool install ruff",
        "pipx run ruff",
        "go install example.com/x@latest",
    ):
        assert ELSEWHERE.search(bad), bad


def code(file: Path) -> str:
    """A file without what only people read."""
    lines = file.read_text(errors="replace").splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith(("#", '"""', "uv pip compile")))


def test_every_requirement_has_a_version_and_a_hash() -> None:
    every = [*files("*requirements*.txt", "celery-*.txt", "common.txt")]
    assert len(every) > 15
    assert {str(file.relative_to(ROOT)): bad for file in every if (bad := without_hash(file.read_text()))} == {}
    assert without_hash("a==1 \\\n    --hash=sha256:00\nb==2\nc\n") == ["b==2", "c"]


def test_the_package_is_built_by_what_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (backend,) = project["build-system"]["requires"]
    assert backend in project["dependency-groups"]["dev"]
    assert "celeriac" in project["tool"]["uv"]["no-build-isolation-package"]
    assert f"{backend} \\\n    --hash=sha256:" in (ROOT / ".build-requirements.txt").read_text()
