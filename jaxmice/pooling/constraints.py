"""Hypotheses written as text, such as ``"sex = 2 * texp"``, about pooled coefficients."""

import ast
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxmice.errors import PoolError
from jaxmice.pooling.estimates import Stack
from jaxmice.pooling.joint import d1, pool_chi2
from jaxmice.pooling.pool import as_stack, complete_df

Numbers = NDArray[np.float64]
Complaint = Callable[[str], PoolError]

FUNCTIONS: dict[str, Callable[[Any], Any]] = {"exp": np.exp, "log": np.log, "sqrt": np.sqrt}
OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: a**b,
    ast.USub: lambda a: -a,
    ast.UAdd: lambda a: a,
}
STEP = 1e-30
"""Imaginary step: the derivative it gives of an analytic function is exact to rounding."""


def constraint_test(
    analyses: Any,
    constraints: str | Sequence[str],
    method: str = "D1",
    dfcom: float | str | None = None,
) -> pd.DataFrame:
    """Test constraints on the coefficients, linear or not.

    Parameters
    ----------
    analyses
        What ``imp.analyze(...)`` returns, or anything that `pool` takes.
    constraints
        One or several, tested jointly: ``"a = b"``, ``"a - 2*b = 0"``, ``"a * b"`` (equal
        to zero). Names are those of the terms, the operators ``+ - * / **``, the functions
        ``exp``, ``log`` and ``sqrt``.
    method
        ``"D1"`` pools estimates and covariances of the constrained quantities, ``"D2"``
        the m Wald statistics.
    dfcom
        Degrees of freedom of the complete-data analysis, for ``"D1"``; infinite by default.
        ``"residual"``: those of the fits.

    Returns
    -------
    pandas.DataFrame
        One row ``F.value, df1, df2, p.value, riv``.

    Raises
    ------
    PoolError
        E66, for a constraint that cannot be read; E64, for one that follows from others or
        an unknown method.

    Notes
    -----
    Covariances of nonlinear quantities by the delta method in every imputation, with exact
    derivatives (Squire and Trapp 1998).

    Examples
    --------
    >>> import numpy as np
    >>> from jaxmice.pooling import constraint_test
    >>> params = np.array([[1.0, 2.1], [1.1, 1.9], [0.9, 2.0]])
    >>> table = constraint_test((params, np.stack([0.04 * np.eye(2)] * 3)), "term2 = 2 * term1")
    >>> round(float(table["F.value"].iloc[0]), 4)
    0.0
    """
    stack = as_stack(analyses)
    stack.need_errors()
    texts = [constraints] if isinstance(constraints, str) else list(constraints)
    if not texts:
        raise PoolError("E66", "name at least one constraint, such as 'a = b'")
    values, moves = (
        np.stack(part, axis=1)
        for part in zip(*(_linearise(text, stack) for text in texts), strict=True)
    )
    covariances = np.einsum("mck,mkl,mdl->mcd", moves, stack.cov, moves)
    return wald(values, covariances, method, complete_df(stack, dfcom))


def wald(values: Numbers, covariances: Numbers, method: str, dfcom: float = np.inf) -> pd.DataFrame:
    """Test that quantities (m, k) with covariances (m, k, k) are zero, by D1 or D2."""
    if method == "D1":
        return d1(values, covariances, dfcom)
    if method != "D2":
        raise PoolError("E64", f"method must be 'D1' or 'D2' for Wald tests, got {method!r}")
    try:
        solved = np.linalg.solve(covariances, values[..., None])[..., 0]
    except np.linalg.LinAlgError as error:
        raise PoolError(
            "E64", "a covariance of what is tested is singular; drop what follows from others"
        ) from error
    return pool_chi2((values * solved).sum(axis=1), values.shape[1])


def _linearise(text: str, stack: Stack) -> tuple[Numbers, Numbers]:
    """Return the constrained quantity (m,) and its derivatives (m, k)."""
    left, *right = text.split("=")
    if len(right) > 1 or not all(side.strip() for side in (left, *right)):
        raise PoolError("E66", f"constraint {text!r} needs the form 'a = b' or 'a - b'")

    def unreadable(found: str) -> PoolError:
        return PoolError(
            "E66",
            f"constraint {text!r} cannot be read{found}; use numbers, + - * / **, "
            f"{', '.join(FUNCTIONS)} and the terms {', '.join(stack.terms)}",
        )

    tree = _parse(f"{left} - ({right[0]})" if right else left, stack.terms, unreadable)
    # Coefficients go first: one array for each. Every derivative has a step of its own.
    at = stack.params.astype(complex).T[..., None]
    step = 1j * STEP * np.eye(len(stack.terms))[:, None]
    with np.errstate(all="ignore"):
        value = np.asarray(_evaluate(tree, at, unreadable))
        derivative = np.asarray(_evaluate(tree, at + step, unreadable)).imag / STEP
    if not np.isfinite(value).all() or value.imag.any() or not np.isfinite(derivative).all():
        raise PoolError("E66", f"constraint {text!r} is not a finite number at the estimates")
    if not derivative.any():
        raise PoolError("E66", f"constraint {text!r} does not depend on any coefficient")
    return value.real[:, 0], derivative


def _parse(expression: str, terms: Sequence[str], unreadable: Complaint) -> ast.expr:
    """Read an expression after giving the terms names that Python understands."""
    names = sorted(terms, key=len, reverse=True)
    # A term stands alone: not inside a longer word or number.
    pattern = "|".join(rf"(?<![\w.]){re.escape(name)}(?![\w.])" for name in names)
    coded = re.sub(pattern, lambda found: f"_{terms.index(found[0])}_", expression)
    try:
        return ast.parse(coded.strip(), mode="eval").body
    except SyntaxError:
        raise unreadable("") from None


def _evaluate(node: ast.expr, params: Any, unreadable: Complaint) -> Any:
    def value(inner: ast.expr) -> Any:
        return _evaluate(inner, params, unreadable)

    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name) if re.fullmatch(r"_\d+_", name):
            return params[int(name.strip("_"))]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return OPERATORS[type(op)](value(left), value(right))
        case ast.UnaryOp(op=op, operand=operand) if type(op) in OPERATORS:
            return OPERATORS[type(op)](value(operand))
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
            return FUNCTIONS[name](value(argument))
    raise unreadable(f": there is no {node.id!r}" if isinstance(node, ast.Name) else "")
