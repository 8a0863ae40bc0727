"""The demo application is no part of the installed package: its folder goes onto the path for these tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "worker-image"))
