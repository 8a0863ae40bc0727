"""The layout that everything else relies on."""

import operator
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
KINDS = ("unit", "integration", "agent", "faults", "e2e")


def test_the_operator_folder_is_no_package_and_does_not_shadow_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    from_the_root = subprocess.run(
        [sys.executable, "-c", "import operator; print(operator.__file__)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(from_the_root.stdout.strip()) == Path(operator.__file__)


def test_make_help_explains_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = makefile.split(".PHONY:")[1].splitlines()[0].split()
    helped = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [target for target in phony if f"  {target} " not in helped] == []


def test_every_test_file_carries_the_mark_of_its_folder_and_no_target_leaves_it_out() -> None:
    unmarked = [
        str(file.relative_to(ROOT))
        for kind in KINDS
        for file in (ROOT / "tests" / kind).rglob("test_*.py")
        if not re.search(rf"^pytestmark = .*\bpytest\.mark\.{kind}\b", file.read_text(), re.MULTILINE)
    ]
    assert unmarked == []


def test_no_test_file_is_outside_the_folders_that_targets_run() -> None:
    run = [ROOT / "tests" / kind for kind in KINDS]
    files = (ROOT / "tests").rglob("test_*.py")
    assert [str(file) for file in files if not any(file.is_relative_to(folder) for folder in run)] == []
