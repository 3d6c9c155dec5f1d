"""Expressions that compute one column from others.

The text is read by Python's own parser into a syntax tree, of which only the constructs
named here are translated; nothing is ever evaluated as code.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from jaxmice.errors import ModelError
from jaxmice.frame import Column
from jaxmice.wording import near, some

CODE = "E30"
"""A rule with an unknown name or a construct that has no place in it."""

NUMBERS = ("continuous", "integer", "binary_numeric")
"""Kinds of column that stand for their value."""


class Pool(Protocol):
    """What cluster functions need of the clusters; arrays are by row."""

    def sum(self, values: Any) -> Any:
        """Return for every row the sum over its cluster."""

    def size(self) -> Any:
        """Return for every row the number of rows of its cluster."""


@dataclass(frozen=True)
class Expression:
    """A translated expression; equal ones are equal, so that programs can be shared.

    Parameters
    ----------
    text
        As the user wrote it.
    tree
        Nested tuples of an operation and its operands.
    logical
        Whether it says yes or no.
    direct
        Columns whose value in a row counts for this row.
    pooled
        Columns that count by cluster.
    """

    text: str
    tree: tuple[Any, ...]
    logical: bool
    direct: tuple[str, ...]
    pooled: tuple[str, ...]

    def __call__(self, xp: Any, column: Callable[[str], Any], pool: Pool) -> Any:
        """Return the values; of yes and no, 1 and 0.

        Parameters
        ----------
        xp
            ``numpy`` or ``jax.numpy``.
        column
            Gives the values of a column, in the user's units; categories as codes.
        pool
            Sums over the clusters, in the same shape.
        """
        tree = ("float", self.tree) if self.logical else self.tree
        return _evaluate(tree, xp, column, pool)

    def holds(self, xp: Any, column: Callable[[str], Any], pool: Pool) -> Any:
        """Return where a condition holds, as booleans."""
        return _evaluate(self.tree, xp, column, pool)


def parse(text: str, columns: Mapping[str, Column], where: str, *, clustered: bool) -> Expression:
    """Translate an expression.

    Arithmetic, comparisons, ``& | ~`` (or ``and or not``), the functions log, log1p, exp,
    sqrt, abs, minimum, maximum, where and I, over the cluster mean, sum and size, and center,
    the deviation from the cluster mean. A name that is no Python name stands between
    backticks; ``^`` is a power. A column of
    categories can only be compared with one of its values.

    Parameters
    ----------
    columns
        All columns of the data.
    where
        What the text is, for messages, such as ``"rule for 'bmi'"``.
    clustered
        Whether there is a cluster column.

    Raises
    ------
    ModelError
        E30.
    """
    quoted: dict[str, str] = {}

    def plain(found: re.Match[str]) -> str:
        if found[0] == "^":
            return "**"
        if found[0][0] != "`":
            return found[0]
        name = f"_quoted{len(quoted)}_"
        quoted[name] = found[0][1:-1]
        return name

    source = re.sub(r"'[^']*'|\"[^\"]*\"|`[^`]*`|\^", plain, text)
    try:
        # In brackets, so that a long expression may be broken into lines.
        parsed = ast.parse(f"({source}\n)", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "too deeply nested"
        raise ModelError(CODE, f"{where}: {text!r} is no expression ({reason})") from None
    reader = _Reader(columns, where, quoted, clustered)
    part = reader.read(parsed)
    tree = part.tree if part.kind == "logical" else reader.number(part)
    direct = tuple(sorted(reader.direct))
    out = Expression(
        text.strip(), tree, part.kind == "logical", direct, tuple(sorted(reader.pooled))
    )
    try:
        with np.errstate(all="ignore"):
            out(np, lambda name: np.ones(1), _One())
    except ArithmeticError as error:
        raise ModelError(CODE, f"{where}: {text!r} cannot be computed ({error})") from None
    return out


class _One:
    """A single row in a cluster of its own."""

    def sum(self, values: Any) -> Any:
        return np.zeros(1) + values

    def size(self) -> Any:
        return np.ones(1)


@dataclass(frozen=True)
class _Part:
    """A translated piece: a ``number``, ``logical``, a ``category`` or ``text``."""

    tree: tuple[Any, ...]
    kind: str
    name: str = ""
    categories: tuple[Any, ...] = ()
    ordered: bool = False
    value: Any = None


_ARITHMETIC: dict[type, str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Pow: "**",
    ast.Mod: "%",
    ast.FloorDiv: "//",
}
_LOGICAL: dict[type, str] = {ast.BitAnd: "and", ast.BitOr: "or", ast.And: "and", ast.Or: "or"}
_COMPARISONS: dict[type, str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_MIRRORED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_ONE = ("log", "log1p", "exp", "sqrt", "abs")
_TWO = ("minimum", "maximum")
_BY_CLUSTER = ("mean", "sum", "size")
FUNCTIONS = (*_ONE, *_TWO, "where", "I", *_BY_CLUSTER, "center")
"""Functions that an expression may call."""


class _Reader:
    """Translates a syntax tree and notes the columns it meets."""

    def __init__(
        self,
        columns: Mapping[str, Column],
        where: str,
        quoted: Mapping[str, str],
        clustered: bool,
    ) -> None:
        self.columns, self.where, self.quoted = columns, where, quoted
        self.clustered, self.depth = clustered, 0
        self.direct: set[str] = set()
        self.pooled: set[str] = set()

    def fail(self, message: str) -> ModelError:
        return ModelError(CODE, f"{self.where}: {message}")

    def read(self, node: ast.AST) -> _Part:
        match node:
            case ast.Constant(value=value):
                return self.constant(value)
            case ast.Name() | ast.Attribute():
                return self.column(node)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                operands = self.number(self.read(left)), self.number(self.read(right))
                return _Part((_ARITHMETIC[type(op)], *operands), "number")
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _LOGICAL:
                return self.combine(_LOGICAL[type(op)], [left, right])
            case ast.BoolOp(op=op, values=values):
                return self.combine(_LOGICAL[type(op)], values)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return _Part(("negative", self.number(self.read(operand))), "number")
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return _Part(self.number(self.read(operand)), "number")
            case ast.UnaryOp(op=ast.Invert() | ast.Not(), operand=operand):
                return _Part(("not", self.condition(self.read(operand), "~")), "logical")
            case ast.Compare(left=left, ops=ops, comparators=right):
                return self.compare([left, *right], ops)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                return self.call(name, args)
        raise self.fail(f"{ast.unparse(node)!r} is not allowed in an expression")

    def constant(self, value: Any) -> _Part:
        if isinstance(value, bool):
            return _Part(("value", value), "logical", value=value)
        if isinstance(value, str):
            return _Part(("value", value), "text", value=value)
        if isinstance(value, int | float) and abs(value) < 1e308:
            return _Part(("value", float(value)), "number", value=value)
        raise self.fail(f"{value!r} is not allowed in an expression")

    def column(self, node: ast.AST) -> _Part:
        name = ast.unparse(node)
        name = self.quoted.get(name, name)
        if name not in self.columns:
            raise self.fail(f"unknown name {name!r}; {near(name, [*self.columns, *FUNCTIONS])}")
        column = self.columns[name]
        if column.kind not in {*NUMBERS, "binary", "nominal", "ordinal"} or column.level == 0:
            what = "the cluster column" if column.level == 0 else f"of kind {column.kind}"
            raise self.fail(f"{name!r} cannot be used, it is {what}")
        (self.pooled if self.depth else self.direct).add(name)
        if column.kind in NUMBERS:
            return _Part(("column", name), "number")
        if column.categories == (False, True):
            return _Part(("==", ("column", name), ("value", 1.0)), "logical")
        return _Part(
            ("column", name), "category", name, column.categories, column.kind == "ordinal"
        )

    def number(self, part: _Part) -> tuple[Any, ...]:
        if part.kind == "number":
            return part.tree
        if part.kind == "logical":
            return ("float", part.tree)
        if part.kind == "text":
            raise self.fail(f"the text {part.value!r} can only be compared with a category")
        raise self.fail(
            f"{part.name!r} has categories; compare it with one of them, as in "
            f"{part.name} == {part.categories[0]!r}"
        )

    def condition(self, part: _Part, sign: str) -> tuple[Any, ...]:
        if part.kind == "logical":
            return part.tree
        raise self.fail(
            f"{sign!r} needs conditions; put every comparison into brackets, as in (x > 1)"
        )

    def combine(self, sign: str, nodes: list[Any]) -> _Part:
        shown = {"and": "&", "or": "|"}[sign]
        first, *rest = [self.condition(self.read(node), shown) for node in nodes]
        for tree in rest:
            first = (sign, first, tree)
        return _Part(first, "logical")

    def compare(self, nodes: list[Any], ops: list[Any]) -> _Part:
        parts = [self.read(node) for node in nodes]
        tree: tuple[Any, ...] = ()
        for left, op, right in zip(parts[:-1], ops, parts[1:], strict=True):
            if type(op) not in _COMPARISONS:
                raise self.fail("'in' and 'is' are not allowed; join comparisons by |")
            one = self.comparison(left, _COMPARISONS[type(op)], right)
            tree = ("and", tree, one) if tree else one
        return _Part(tree, "logical")

    def comparison(self, left: _Part, sign: str, right: _Part) -> tuple[Any, ...]:
        if right.kind == "category" and left.kind != "category":
            left, sign, right = right, _MIRRORED[sign], left
        if left.kind != "category":
            return (sign, self.number(left), self.number(right))
        if right.value is None:
            raise self.fail(f"the category {left.name!r} can only be compared with its values")
        if sign not in {"==", "!="} and not left.ordered:
            raise self.fail(f"the categories of {left.name!r} have no order")
        matching = [
            code
            for code, label in enumerate(left.categories)
            if label == right.value and isinstance(label, str) == isinstance(right.value, str)
        ]
        if not matching:
            raise self.fail(
                f"{left.name!r} has no category {right.value!r}; it has {some(left.categories)}"
            )
        return (sign, left.tree, ("value", float(matching[0])))

    def call(self, name: str, nodes: list[Any]) -> _Part:
        if name not in FUNCTIONS:
            raise self.fail(f"unknown function {name!r}; {near(name, FUNCTIONS)}")
        wanted = 2 if name in _TWO else {"where": 3, "size": 0}.get(name, 1)
        if len(nodes) != wanted:
            raise self.fail(f"{name}() takes {wanted} arguments, got {len(nodes)}")
        if name in _BY_CLUSTER:
            if not self.clustered:
                raise self.fail(f"{name}() is over a cluster, but no cluster column is given")
            self.depth += 1
            inside = [self.number(self.read(node)) for node in nodes]
            self.depth -= 1
            return _Part((name, *inside), "number")
        if name == "center":
            mean = self.call("mean", nodes)
            return _Part(("-", self.number(self.read(nodes[0])), mean.tree), "number")
        if name == "I":
            return self.read(nodes[0])
        if name == "where":
            test = self.condition(self.read(nodes[0]), "where")
            return _Part((name, test, *(self.number(self.read(n)) for n in nodes[1:])), "number")
        return _Part((name, *(self.number(self.read(node)) for node in nodes)), "number")


def _power(base: Any, exponent: Any) -> Any:
    # A whole exponent is a product, which is also defined for negative bases.
    whole = isinstance(exponent, float) and exponent.is_integer() and abs(exponent) <= 64
    return base ** (int(exponent) if whole else exponent)


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": _power,
    "%": operator.mod,
    "//": operator.floordiv,
    "negative": operator.neg,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NAMED = {
    "and": "logical_and",
    "or": "logical_or",
    "not": "logical_not",
    **{name: name for name in (*_ONE, *_TWO, "where")},
}


def _evaluate(tree: tuple[Any, ...], xp: Any, column: Callable[[str], Any], pool: Pool) -> Any:
    sign, *rest = tree
    if sign == "value":
        return rest[0]
    if sign == "column":
        return column(rest[0])
    operands = [_evaluate(part, xp, column, pool) for part in rest]
    if sign in _OPERATIONS:
        return _OPERATIONS[sign](*operands)
    if sign in _NAMED:
        return getattr(xp, _NAMED[sign])(*operands)
    if sign == "float":
        return xp.where(operands[0], 1.0, 0.0)
    if sign == "size":
        return pool.size()
    total = pool.sum(operands[0])
    return total / pool.size() if sign == "mean" else total
