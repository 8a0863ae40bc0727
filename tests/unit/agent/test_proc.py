"""Whether SIGTERM reaches the worker, by what /proc tells."""

import os
from collections.abc import Mapping
from pathlib import Path
from subprocess import Popen

import pytest
from celeriac_agent.proc import LEAVE_SECONDS, OwnGroup, init_of, sigterm_arrives

pytestmark = pytest.mark.unit

SHELL = "Name:\tsh\nPPid:\t{parent}\nSigBlk:\t0000000000000000\nSigCgt:\t0000000000010002\n"
TINI = "Name:\ttini\nPPid:\t{parent}\nSigBlk:\tfffffffe7ffbfeff\nSigCgt:\t0000000000000000\n"
PYTHON = "Name:\tpython\nPPid:\t{parent}\nSigBlk:\t0000000000000000\nSigCgt:\t0000000000004002\n"


@pytest.mark.parametrize(
    ("processes", "arrives"),
    [
        ({1: PYTHON.format(parent=0)}, True),
        ({7: PYTHON.format(parent=1), 1: SHELL.format(parent=0)}, False),
        ({7: PYTHON.format(parent=1), 1: TINI.format(parent=0)}, True),
        ({9: PYTHON.format(parent=7), 7: SHELL.format(parent=1), 1: TINI.format(parent=0)}, False),
        ({7: PYTHON.format(parent=1), 1: "Name:\tsh\n"}, None),
        ({7: PYTHON.format(parent=1)}, None),
    ],
)
def test_a_shell_above_the_worker_keeps_sigterm_from_it(processes: Mapping[int, str], arrives: bool | None) -> None:
    def read(pid: int) -> str:
        if pid not in processes:
            raise FileNotFoundError(pid)
        return processes[pid]

    assert sigterm_arrives(max(processes), read) is arrives


def test_the_init_is_named_where_the_worker_is_not_pid_1_itself() -> None:
    assert init_of(1) == ""
    assert Path("/proc/1/status").read_text().startswith(f"Name:\t{init_of(os.getpid())}\n")


def test_a_child_that_stays_in_its_workers_process_group_is_found_and_one_that_leaves_is_not() -> None:
    with Popen(["sleep", "60"]) as beside, Popen(["sleep", "60"], start_new_session=True) as apart:
        group = OwnGroup()
        try:
            assert not group.holds([beside.pid, apart.pid], 0.0), "it may be about to leave"
            assert not group.holds([beside.pid, apart.pid], LEAVE_SECONDS - 1)
            assert group.holds([beside.pid, apart.pid], LEAVE_SECONDS)
            assert not group.holds([apart.pid], LEAVE_SECONDS + 1)
        finally:
            beside.kill()
            apart.kill()
    assert not group.holds([beside.pid], 99.0)
