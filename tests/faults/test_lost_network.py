"""What was sent into a network that is lost, and given up, is never delivered: by then another operator acts."""

import json
import os
import subprocess
import sys

import pytest

from tests.faults.table import ROOT

pytestmark = pytest.mark.faults

UNSHARE = ("unshare", "--net", *(() if os.geteuid() == 0 else ("--user", "--map-root-user")), "--")


def test_what_was_given_up_reaches_neither_the_api_server_nor_a_broker() -> None:
    told = subprocess.run(
        [*UNSHARE, sys.executable, "-m", "tests.faults.lost_network"], cwd=ROOT, check=True, capture_output=True
    )
    expected = ["before", "given up", "after"]
    assert json.loads(told.stdout) == {"API server": expected, "broker": expected}
