"""No regular expression comes from a stranger, and none of ours takes long whatever a stranger writes."""

import ast
import importlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
FOLDERS = (ROOT / "operator", ROOT / "worker-image" / "agent")
OF_OURS = {
    "api/names.py": ["_LABEL"],
    "brokers/redis/answers.py": ["answer.words"],
    "brokers/redis/envelopes.py": ["re.escape(self.mark) + b'(\\\\d+)\\\\.'"],
    "brokers/redis/greeting.py": ["pattern"],
    "brokers/redis/tls_failures.py": ["pattern"],
    "cli/schema.py": ["schema.get('pattern', '')"],
    "cluster/cures.py": ["pattern"],
    "pool/fields.py": ["pattern"],
    "pool/parse.py": ["_NAME"],
    "pool/refused.py": ["pattern"],
}
"""Expressions that are written down elsewhere: in a table or constant of ours, in the CRD, in the platform's flags."""
LONGEST = 512
"""Characters that are tried. What strangers write is cut to less before, or has a bound of its own."""
MOST_SECONDS = 0.1

Expression = str | bytes


def calls(tree: ast.AST) -> Iterator[ast.expr]:
    """The expression of each call into `re`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            of = node.func.value
            if isinstance(of, ast.Name) and of.id == "re" and node.func.attr != "escape":
                yield node.args[0]


def modules() -> Iterator[tuple[str, ast.AST]]:
    """All modules of the operator and the agent, by their path in the package."""
    for folder in FOLDERS:
        for file in sorted(folder.rglob("*.py")):
            yield file.relative_to(folder).as_posix(), ast.parse(file.read_text())


def patterns() -> Iterator[tuple[str, re.Pattern[str] | re.Pattern[bytes]]]:
    """All expressions that are written in the code, with the module that they are in."""
    for path, tree in modules():
        for expression in calls(tree):
            if isinstance(expression, ast.Constant) and isinstance(expression.value, str | bytes):
                yield path, re.compile(expression.value)
        if path.startswith("celeriac/") and any(True for _ in calls(tree)) and not path.endswith("__main__.py"):
            module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
            yield from ((path, each) for each in vars(module).values() if isinstance(each, re.Pattern))
    for name, table in (("answers", "ANSWERS"), ("greeting", "OTHER_SERVICES"), ("tls_failures", "_REASONS")):
        rows = getattr(importlib.import_module(f"celeriac.brokers.redis.{name}"), table)
        yield from ((name, re.compile(row[0])) for row in rows)


def hard_texts(pattern: re.Pattern[str] | re.Pattern[bytes]) -> Iterator[str | bytes]:
    """Texts that an expression nearly matches, again and again: pieces of itself, and one character after the other."""
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    words = [word for word in re.split(r"[\\^$.*+?{}\[\]|()]+", source) if word]
    pieces = ["a", "0", "-", ".", " ", "a0", "a.", "a-", "0.", "\n", "[", "1e", ", ", "".join(words), *words]
    for piece in filter(None, pieces):
        for start in ("", words[0] if words else ""):
            text = f"{start}{piece * (LONGEST // len(piece))}\0"
            yield text if isinstance(pattern.pattern, str) else text.encode("latin-1", errors="replace")


def test_no_expression_is_made_from_what_somebody_else_wrote() -> None:
    found: dict[str, list[str]] = {}
    for path, tree in modules():
        for expression in calls(tree):
            if isinstance(expression, ast.Constant):
                continue
            if isinstance(expression, ast.JoinedStr):
                names = [part.value for part in expression.values if isinstance(part, ast.FormattedValue)]
                assert all(isinstance(name, ast.Name) and name.id.lstrip("_").isupper() for name in names), path
                continue
            found.setdefault(path.removeprefix("celeriac/"), []).append(ast.unparse(expression))
    assert found == {path: [each.replace('"', "'") for each in some] for path, some in OF_OURS.items()}


def test_no_expression_of_ours_takes_long_whatever_it_is_tried_on() -> None:
    slow, tried = {}, 0
    for path, pattern in patterns():
        for text in hard_texts(pattern):
            began = time.process_time()
            pattern.search(text)  # type: ignore[arg-type]
            pattern.fullmatch(text)  # type: ignore[arg-type]
            tried += 1
            if (took := time.process_time() - began) > MOST_SECONDS:
                slow[path, pattern.pattern] = took
    assert tried > 1000
    assert slow == {}
