"""``python -m tests.cluster``: clusters on the command line."""

from tests.cluster.cli import main

main()
