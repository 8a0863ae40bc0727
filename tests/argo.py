"""Runs gitops/argocd/health.lua as Argo CD does: Lua 5.1, the object as `obj`, no libraries but the plain ones."""

from pathlib import Path
from typing import Any

from lupa.lua51 import LuaRuntime

FOLDER = Path(__file__).parents[1] / "gitops" / "argocd"
HEALTH = (FOLDER / "health.lua").read_text()


def health(body: dict[str, Any]) -> dict[str, str]:
    """The status and the message."""
    lua = LuaRuntime(register_eval=False, register_builtins=False, unpack_returned_tuples=True)
    for library in ("os", "io", "package", "require", "dofile", "loadfile", "debug"):
        lua.globals()[library] = None
    lua.globals()["obj"] = _table(lua, body)
    answer = lua.execute(HEALTH)
    return {str(key): str(value) for key, value in answer.items()}


def _table(lua: Any, value: Any) -> Any:
    if isinstance(value, dict):
        return lua.table_from({key: _table(lua, child) for key, child in value.items()})
    if isinstance(value, list):
        return lua.table_from([_table(lua, child) for child in value])
    return value
