"""Emulate nodes that choose and calculate: switches, choices, expressions, sizes."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from ..base import Context, NodeResult, node

_BRANCHES = ("on_false", "on_true")


def other_branch(known: Mapping[str, Any], given: Collection[str]) -> tuple[str, ...]:
    """Return the branches of a switch that are not needed: both while its state is unknown, then the one not taken."""
    if "switch" not in known:
        return _BRANCHES
    taken = _taken_branch(bool(known["switch"]), given)
    return tuple(branch for branch in _BRANCHES if branch != taken)


def _taken_branch(switch: bool, given: Collection[str]) -> str:
    wanted = _BRANCHES[switch]
    return wanted if wanted in given else _BRANCHES[not switch]


@node("ComfySwitchNode", unneeded=other_branch)
@node("ComfySoftSwitchNode", unneeded=other_branch)
def switch_node(context: Context, switch: bool, **branches: Any) -> NodeResult:
    """Return one of two values; if its branch is not linked, the other."""
    return NodeResult((branches.get(_taken_branch(bool(switch), branches)),))


@node("CustomCombo")
def custom_combo(context: Context, choice: str, index: int = 0, **_: Any) -> NodeResult:
    """Return a choice among options that the graph's author wrote, and its place among them."""
    return NodeResult((choice, int(index)))


@node("ComfyNumberConvert")
def number_convert(context: Context, value: Any) -> NodeResult:
    """Convert a number or a text to both kinds of number."""
    number = float(value.strip()) if isinstance(value, str) else float(value)
    if not math.isfinite(number):
        raise ValueError(f"Cannot convert non-finite value to number: {number}")
    return NodeResult((number, int(number)))


@node("ResolutionSelector")
def resolution_selector(context: Context, aspect_ratio: str, megapixels: float, multiple: int = 8) -> NodeResult:
    """Compute width and height for a number of megapixels and a proportion such as ``3:2 (Photo)``."""
    across, _, down = aspect_ratio.split()[0].partition(":")
    scale = math.sqrt(megapixels * 1024 * 1024 / (float(across) * float(down)))
    return NodeResult(tuple(round(float(side) * scale / multiple) * multiple for side in (across, down)))


MOST_POWER = 4000
"""Largest exponent, ComfyUI's: a tower of powers would run for ever."""
MOST_BITS = 100_000
"""Largest whole number that a power may give, in bits."""
LONGEST = 2000
"""Characters of an expression."""


def _power(base: Any, exponent: Any) -> Any:
    if abs(exponent) > MOST_POWER or (isinstance(base, int) and base.bit_length() * abs(exponent) > MOST_BITS):
        raise ValueError(f"Exponent {exponent} exceeds maximum allowed ({MOST_POWER})")
    return base**exponent


def _product(left: Any, right: Any) -> Any:
    if isinstance(left, str | list | tuple) or isinstance(right, str | list | tuple):
        raise ValueError("only numbers can be multiplied")
    return left * right


def _sum(*values: Any) -> Any:
    return sum(values[0]) if len(values) == 1 and isinstance(values[0], Iterable) else sum(values)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "sum": _sum, "min": min, "max": max, "abs": abs, "round": round, "pow": _power, "sqrt": math.sqrt, "ceil": math.ceil,
    "floor": math.floor, "log": math.log, "log2": math.log2, "log10": math.log10, "sin": math.sin, "cos": math.cos, "tan": math.tan,
    "int": int, "float": float,
}  # fmt: skip
_OPERATORS: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: _product, ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod, ast.Pow: _power, ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: operator.not_,
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.BitAnd: operator.and_, ast.BitOr: operator.or_, ast.BitXor: operator.xor, ast.Invert: operator.invert,
}  # fmt: skip


def evaluate(expression: str, names: Mapping[str, Any]) -> Any:
    """Calculate an arithmetic expression; nothing but numbers, the given names and the functions above is understood.

    Raises:
        ValueError: it holds something else.

    """
    if len(expression) > LONGEST:
        raise ValueError(f"the expression is longer than {LONGEST} characters")
    try:
        return _Evaluation(names).value(ast.parse(expression.strip(), mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError) as problem:
        raise ValueError(f"{expression!r} is not an expression: {problem}") from None


class _Evaluation:
    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names = names

    def value(self, tree: ast.AST) -> Any:
        match tree:
            case ast.Constant(value=bool() | int() | float() as number):
                return number
            case ast.Name(id=name) if name in self.names:
                return self.names[name]
            case ast.BinOp(left=left, op=op, right=right):
                return self._apply(op, self.value(left), self.value(right))
            case ast.UnaryOp(op=op, operand=operand):
                return self._apply(op, self.value(operand))
            case ast.BoolOp(op=op, values=values):
                return self._any_or_all(isinstance(op, ast.Or), values)
            case ast.Compare(left=left, ops=ops, comparators=others):
                sides = [self.value(side) for side in (left, *others)]
                return all(self._apply(op, a, b) for op, a, b in zip(ops, sides, sides[1:], strict=False))
            case ast.IfExp(test=test, body=body, orelse=other):
                return self.value(body if self.value(test) else other)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in FUNCTIONS:
                return FUNCTIONS[name](*(self.value(argument) for argument in arguments))
            case ast.Subscript(value=values, slice=place):
                return self.value(values)[self.value(place)]
        raise ValueError(f"an expression cannot hold {ast.unparse(tree)!r}")

    def _apply(self, op: ast.AST, *sides: Any) -> Any:
        if type(op) not in _OPERATORS:
            raise ValueError(f"an expression cannot use {type(op).__name__}")
        return _OPERATORS[type(op)](*sides)

    def _any_or_all(self, stop_at: bool, trees: list[ast.expr]) -> Any:
        result: Any = None
        for tree in trees:
            result = self.value(tree)
            if bool(result) == stop_at:
                break
        return result


@node("ComfyMathExpression")
def math_expression(context: Context, expression: str, values: Mapping[str, Any] | None = None, **_: Any) -> NodeResult:
    """Evaluate an arithmetic expression over the values a, b, c and so on."""
    given = dict(values or {})
    result = evaluate(expression, {**given, "values": list(given.values())})
    if not isinstance(result, int | float) or not math.isfinite(float(result)):
        raise ValueError(f"Math Expression {expression!r} must evaluate to a finite number, got {result!r}")
    return NodeResult((float(result), int(result), bool(result)))
