"""Tests that could not fail: the commonest ways of writing one, looked for in every test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FILES = sorted(TESTS.rglob("*.py"))
#: Errors that say all by their type.
SPEAK_FOR_THEMSELVES = {"KeyboardInterrupt", "Killed", "SystemExit", "TimeoutError", "(TimeoutError, WireError)"}


def weaknesses(tree: ast.Module, checking: frozenset[str] = frozenset()) -> Iterator[tuple[int, str]]:
    """Line and kind of whatever looks like a check and is none. ``checking``: helpers that check by themselves."""
    checking |= checking_helpers([tree])
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            if not checks(node, checking):
                yield node.lineno, "a test without an assertion"
            yield from ((handler.lineno, "every exception is swallowed") for handler in swallowing(node))
        elif isinstance(node, ast.Assert):
            yield from ((node.lineno, kind) for kind in weak_assertion(node.test))
        elif isinstance(node, ast.With):
            yield from ((node.lineno, kind) for item in node.items for kind in weak_raises(item, own))


def weak_assertion(test: ast.expr) -> Iterator[str]:
    if isinstance(test, ast.Constant | ast.Tuple | ast.JoinedStr | ast.List | ast.Lambda | ast.GeneratorExp):
        yield "always true"
    for node in ast.walk(test):
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or) and is_constant(node.values[-1]):
            yield "'or' a constant"
        elif isinstance(node, ast.Compare):
            yield from weak_comparison(node)


def weak_comparison(node: ast.Compare) -> Iterator[str]:
    sides = [node.left, *node.comparators]
    for left, operator, right in zip(sides, node.ops, sides[1:], strict=False):
        # The same call twice asks whether it always gives the same.
        if ast.dump(left) == ast.dump(right) and not any(isinstance(part, ast.Call) for part in ast.walk(left)):
            yield "compared with itself"
        low, high = (left, right) if isinstance(operator, ast.LtE) else (right, left)
        if isinstance(operator, ast.LtE | ast.GtE) and is_zero(low):
            if isinstance(high, ast.Call) and named(high.func) == "len":
                yield "a length is never below zero"
            elif len(sides) == 3 and isinstance(sides[2], ast.Constant) and sides[2].value == 1:
                yield "any share is from 0 to 1"
        codes = isinstance(right, ast.Tuple | ast.Set | ast.List) and len(right.elts) > 1
        if isinstance(operator, ast.In) and codes and "code" in named(left).rpartition(".")[2]:
            yield "one of several exit codes"


def weak_raises(item: ast.withitem, own: set[str]) -> Iterator[str]:
    """``own``: errors that the tests themselves have made."""
    call = item.context_expr
    if not (isinstance(call, ast.Call) and named(call.func) == "pytest.raises"):
        return
    error = named(call.args[0])
    match = next((keyword.value for keyword in call.keywords if keyword.arg == "match"), None)
    if error in ("Exception", "BaseException"):
        yield "raises anything at all"
    elif isinstance(match, ast.Constant) and match.value in ("", ".", ".*"):
        yield "matches anything"
    elif match is None and item.optional_vars is None and error not in SPEAK_FOR_THEMSELVES | own:
        yield f"why {error} is raised is not looked at"


def swallowing(function: ast.FunctionDef) -> Iterator[ast.ExceptHandler]:
    """``except`` clauses that take whatever comes, and go on."""
    handlers = [node for node in ast.walk(function) if isinstance(node, ast.ExceptHandler)]
    for handler in handlers:
        broad = handler.type is None or named(handler.type) in ("Exception", "BaseException")
        if broad and not any(isinstance(node, ast.Raise) for node in ast.walk(handler)):
            yield handler


def checks(function: ast.FunctionDef, checking: frozenset[str]) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = named(node.func)
            last = name.rpartition(".")[2]
            if (
                last.startswith("assert_")
                or last in checking
                or name in ("pytest.raises", "pytest.warns", "pytest.fail")
            ):
                return True
    return False


def checking_helpers(trees: list[ast.Module]) -> frozenset[str]:
    """Functions that assert, or call one that does."""
    functions = [
        node
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("test_")
    ]
    found: frozenset[str] = frozenset()
    while more := {function.name for function in functions if checks(function, found)} - found:
        found |= more
    return found


def named(node: ast.expr) -> str:
    return ast.unparse(node)


def is_constant(node: ast.expr) -> bool:
    """Written out, and no name that stands for something else; ``np.nan`` and the like too."""
    return isinstance(node, ast.Constant) or named(node) in ("[]", "{}", "()", "np.nan", "math.nan")


def is_zero(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value in (0, 0.0)


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    return {file: ast.parse(file.read_text(encoding="utf-8")) for file in FILES}


@pytest.fixture(scope="module")
def helpers(trees: dict[Path, ast.Module]) -> frozenset[str]:
    return checking_helpers(list(trees.values()))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(TESTS).as_posix())
def test_every_test_can_fail(file: Path, trees: dict[Path, ast.Module], helpers: frozenset[str]) -> None:
    assert list(weaknesses(trees[file], helpers)) == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("run()", "a test without an assertion"),
        ("[check for check in ()]", "a test without an assertion"),
        ("assert (a == 1, 'message')", "always true"),
        ("assert f'{a}'", "always true"),
        ("assert all(np.isfinite(x or 0) for x in losses)", "'or' a constant"),
        ("assert a == b or True", "'or' a constant"),
        ("assert np.isfinite(loss or np.nan)", "'or' a constant"),
        ("assert a.rounds == a.rounds", "compared with itself"),
        ("assert 0 <= accuracy <= 1", "any share is from 0 to 1"),
        ("assert 0.0 <= f(x)['accuracy'] <= 1.0", "any share is from 0 to 1"),
        ("assert len(rounds) >= 0", "a length is never below zero"),
        ("assert 0 <= len(rounds)", "a length is never below zero"),
        ("assert ended.code in (0, 2)", "one of several exit codes"),
        ("assert process.returncode in {0, 1, 130}", "one of several exit codes"),
        ("with pytest.raises(Exception, match='x'): f()", "raises anything at all"),
        ("with pytest.raises(ConfigError, match=''): f()", "matches anything"),
        ("with pytest.raises(ConfigError): f()", "why ConfigError is raised is not looked at"),
        ("try: f()\n  except Exception: pass\n  assert a", "every exception is swallowed"),
    ],
)
def test_what_cannot_fail_is_found(text: str, kind: str) -> None:
    after = "" if "without" in kind else "\n  assert a"
    found = {weakness for _, weakness in weaknesses(ast.parse(f"def test_x():\n  {text}{after}"))}
    assert found == {kind}


@pytest.mark.parametrize(
    "text",
    [
        "assert a == 1",
        "assert draw(x) == draw(x)",
        "assert 0 <= a < b",
        "assert a in (0, 2)",
        "np.testing.assert_array_equal(a, b)",
        "with pytest.raises(KeyboardInterrupt): f()",
        "with pytest.raises(ConfigError) as caught: f()",
        "with pytest.raises(Own): f()",
        "helper()",
    ],
)
def test_what_can_fail_is_left_alone(text: str) -> None:
    tree = ast.parse(f"class Own(Exception): pass\ndef helper():\n  assert a\ndef test_x():\n  {text}")
    assert list(weaknesses(tree)) == []
