"""The package as a whole: what it may import, how its parts hang together, and how it comes into a worker."""

import ast
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import celeriac_agent
import pytest

pytestmark = pytest.mark.unit

FOLDER = Path(celeriac_agent.__file__).parent
FILES = sorted(FOLDER.glob("*.py"))
TREES = {file.stem: ast.parse(file.read_text(), feature_version=(3, 9)) for file in FILES}
"""Parsed as Python 3.9, the oldest that Celery 5.3 to 5.7 run on here."""

LONGEST_MODULE, LONGEST_CLASS = 300, 200


def _parts_imported_by(name: str) -> set[str]:
    """The parts that a part imports, also inside functions and for types only."""
    found = [node for node in ast.walk(TREES[name]) if isinstance(node, ast.ImportFrom) and node.level]
    return {str(node.module) for node in found}


def test_parts_import_the_standard_library_celery_kombu_redis_and_billiard_only() -> None:
    imported = {
        name.split(".")[0]
        for tree in TREES.values()
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    }
    assert imported <= {"billiard", "celery", "kombu", "redis", *sys.stdlib_module_names}


def test_no_part_imports_another_in_a_circle_and_agent_alone_puts_them_together() -> None:
    graph = {name: _parts_imported_by(name) for name in TREES if name != "__init__"}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError
    assert order[-1] == "agent"
    assert _parts_imported_by("__init__") == {"agent"}
    assert graph["agent"] <= set(graph)
    assert [name for name, parts in graph.items() if "agent" in parts] == []


def test_every_part_is_used() -> None:
    used = set().union(*(_parts_imported_by(name) for name in TREES))
    assert {*used, "__init__"} == set(TREES)


def test_parts_are_short() -> None:
    assert {file.name: lines for file in FILES if (lines := len(file.read_text().splitlines())) > LONGEST_MODULE} == {}
    classes = [node for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in classes}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_CLASS} == {}


def _python(folder: Path, program: str, **variables: str) -> str:
    """Run a program that finds the package as a worker does: at the end of the path, in a mounted ConfigMap."""
    program = f"import sys; sys.path.append({str(folder)!r}); {program}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_the_variables_of_a_pod_the_package_does_nothing(config_map: Path) -> None:
    program = (
        "import celeriac_agent; from celery import signals;"
        "print(signals.worker_init.receivers, [name for name in sys.modules if name.startswith('celeriac_agent.')])"
    )
    assert _python(config_map, program) == "[] []"


def test_all_parts_are_found_in_a_mounted_config_map(config_map: Path) -> None:
    program = "import celeriac_agent.agent; print(celeriac_agent.agent.Agent.__module__, celeriac_agent.__file__)"
    shown = _python(config_map, program, CELERIAC_POOL_UID="uid")
    assert shown == f"celeriac_agent.agent {config_map / 'celeriac_agent' / '__init__.py'}"


def test_a_part_that_cannot_be_imported_leaves_a_plain_worker_and_says_so(config_map: Path) -> None:
    broken = (config_map / "celeriac_agent" / "gate.py").resolve()
    broken.chmod(0o644)
    broken.write_text("import a_module_that_no_image_has")
    program = (
        "import logging, types, celeriac_agent; logging.basicConfig(stream=sys.stdout);"
        "of_redis = types.SimpleNamespace(transport=types.SimpleNamespace(driver_type='redis'));"
        "worker = types.SimpleNamespace(_conninfo=of_redis);"
        "celeriac_agent.start_agent(worker); print(celeriac_agent.AGENTS);"
        "celeriac_agent.signals.worker_ready.send(None)"
    )
    shown = _python(config_map, program, CELERIAC_POOL_UID="uid")
    assert shown.splitlines() == [
        "{}",
        "WARNING:celeriac:Celeriac's agent could not start (ModuleNotFoundError)",
    ]
