"""The compiled functions of the engine, and how they are compiled."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

from jaxmice.engine import passive, visit as uncompiled

CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": ""}
"""No library kernels for small products and sums: their calls cost more than they save."""

PLAIN_OPTIONS = {"xla_cpu_use_fusion_emitters": False}
"""Plainer kernels: some per cent slower to run, two to eight times faster to compile."""

WIDE, SMALL = 8, 5000
"""More predictors than this, or fewer rows in all data sets, and a visit is compiled into plainer
kernels: these then cost no time, or less than they save."""


def compiler_options(*, plain: bool = False) -> dict[str, Any]:
    """Return the compiler options to use, as far as this version of JAX knows them.

    They do nothing where the program is compiled for another device than a CPU.
    """
    options = CPU_OPTIONS | (PLAIN_OPTIONS if plain else {})
    return {name: value for name, value in options.items() if _is_known(name, value)}


@cache
def _is_known(name: str, value: Any) -> bool:
    try:
        jax.jit(lambda x: x + 1, compiler_options={name: value})(jnp.zeros(()))
    except (RuntimeError, ValueError):
        return False
    return True


@cache
def visit(*, plain: bool) -> Callable[..., Any]:
    """Return the compiled visit: one program per method, widths and shapes of the data.

    The columns and the state that are passed in are used up. ``plain`` asks for plainer
    kernels.
    """
    return jax.jit(
        uncompiled.visit,
        static_argnames=("uses_means", "leave_one_out"),
        donate_argnames=("columns", "state"),
        compiler_options=compiler_options(plain=plain),
    )


@cache
def start_columns() -> Callable[..., Any]:
    """Return the compiled draw of starting values; drawn once, so compiled plainly."""
    return jax.jit(
        uncompiled.start_columns,
        static_argnames=("carried",),
        compiler_options=compiler_options(plain=True),
    )


@cache
def recompute() -> Callable[..., Any]:
    """Return the compiled computation of passive columns; the columns are used up."""
    return jax.jit(
        passive.recompute,
        static_argnames=("rules", "names"),
        donate_argnames=("columns",),
        compiler_options=compiler_options(),
    )


@cache
def process() -> Callable[..., Any]:
    """Return the compiled post-processing; columns, draws and trace are used up."""
    return jax.jit(
        passive.process,
        static_argnames=("target", "names", "slot"),
        donate_argnames=("columns", "drawn", "trace"),
        compiler_options=compiler_options(),
    )
