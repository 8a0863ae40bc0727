"""A pool that notes what has been loaded when it is made, into the file LOADED_FILE; its base is BASE_POOL."""

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

BASE: Any = import_module(f"celery.concurrency.{os.environ['BASE_POOL']}").TaskPool


class Pool(BASE):  # type: ignore[misc]
    """As its base."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        Path(os.environ["LOADED_FILE"]).write_text(json.dumps(sorted(sys.modules)))
        super().__init__(*args, **kwargs)
