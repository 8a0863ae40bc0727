"""`python -m tests.demo`: the whole system in one command, real tasks, a live table and an account of every task."""

import sys
from pathlib import Path

# The demo application, whose ledger is read here, is no part of the installed package.
sys.path.insert(0, str(Path(__file__).parents[2] / "worker-image"))
