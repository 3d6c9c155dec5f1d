"""Post-processing: what happens to newly imputed cells right after the draw.

It is part of the chain: other columns are imputed from the values as they are afterwards.

>>> import jaxmice as jm
>>> model = {"age": jm.post.squeeze(0, 110), "visits": [jm.post.squeeze(0), jm.post.round()]}
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxmice.errors import ModelError
from jaxmice.wording import is_whole


class Processor(eqx.Module):
    """Changes imputed values of one column; its numbers may differ without a new program."""

    reports: ClassVar[bool] = False
    """Whether the values that it changes are counted in the log."""

    def __call__(
        self, values: Float[Array, "K B"], column: Callable[[str], Array], pool: Any
    ) -> Float[Array, "K B"]:
        """Return the changed values, in the user's units.

        Parameters
        ----------
        values
            The column as it was drawn.
        column
            Gives the current values of any column.
        pool
            Sums over the clusters.
        """
        raise NotImplementedError

    def settle(self, values: Any) -> Any:
        """Do to values that were processed what rounding of their scale may have undone."""
        return values


class Squeeze(Processor):
    """See `squeeze`."""

    low: Any
    high: Any

    def __call__(self, values: Any, column: Any, pool: Any) -> Any:
        """Return the changed values."""
        return jnp.clip(values, self.low, self.high)

    def settle(self, values: Any) -> Any:
        """Return values that are legal to the last digit."""
        return values.clip(self.low, self.high)


class Redraw(Squeeze):
    """See `redraw`; what is left to do after the draws is to clip."""

    max_try: int = eqx.field(static=True)
    reports: ClassVar[bool] = True


class Round(Processor):
    """See `round`."""

    digits: int = eqx.field(static=True)

    def __call__(self, values: Any, column: Any, pool: Any) -> Any:
        """Return the changed values."""
        return jnp.round(values, self.digits)

    def settle(self, values: Any) -> Any:
        """Return values that are legal to the last digit."""
        return values.round(self.digits)


class SetWhere(Processor):
    """See `set_where`."""

    where: Any = eqx.field(static=True)
    value: Any

    def __call__(self, values: Any, column: Any, pool: Any) -> Any:
        """Return the changed values."""
        return jnp.where(self.where.holds(jnp, column, pool), self.value, values)


class Delta(Processor):
    """See `delta`."""

    shift: Any
    scale: Any
    where: Any = eqx.field(static=True)

    def __call__(self, values: Any, column: Any, pool: Any) -> Any:
        """Return the changed values."""
        changed = values * self.scale + self.shift
        if self.where is None:
            return changed
        return jnp.where(self.where.holds(jnp, column, pool), changed, values)


class Move(Processor):
    """A shift by an expression, see `delta`."""

    shift: Any = eqx.field(static=True)
    scale: Any
    where: Any = eqx.field(static=True)

    def __call__(self, values: Any, column: Any, pool: Any) -> Any:
        """Return the changed values."""
        changed = values * self.scale + self.shift(jnp, column, pool)
        if self.where is None:
            return changed
        return jnp.where(self.where.holds(jnp, column, pool), changed, values)


class Function(Processor):
    """A function of the user's."""

    function: Any = eqx.field(static=True)

    def __call__(self, values: Any, column: Any, pool: Any) -> Any:
        """Return the changed values."""
        return self.function(values, column)


def squeeze(low: float | None = None, high: float | None = None) -> Squeeze:
    """Move values outside of some bounds to the nearest bound.

    Clipping piles values up at the bounds; to draw from a law that knows them, choose a
    method that does, such as predictive mean matching.

    Parameters
    ----------
    low, high
        Bounds. If neither is given: the least and greatest observed value.

    Raises
    ------
    ModelError
        E51: bounds that are no numbers, or the wrong way round.

    Examples
    --------
    >>> import jaxmice as jm
    >>> d = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
    >>> imp = jm.mice(d, m=2, method={"popular": "2l.pan"}, cluster="school", seed=1,
    ...               post={"popular": jm.post.squeeze(1, 9)})
    >>> float(imp.imp["popular"].max().max()) <= 9
    True
    """
    for bound in (low, high):
        _check(bound is None or is_number(bound), f"squeeze: {bound!r} is no number")
    _check(low is None or high is None or low <= high, f"squeeze: {low!r} is above {high!r}")
    return Squeeze(_float(low), _float(high))


def redraw(low: float | None = None, high: float | None = None, max_try: int = 20) -> Redraw:
    """Draw values outside of some bounds again: the imputation model, truncated.

    Values that are still outside after that are moved to the nearest bound, and counted
    in the log (event ``post_clip``). Only for numbers drawn one column at a time, and before
    any other post-processing of the column.

    Parameters
    ----------
    low, high
        Bounds, at least one of them.
    max_try
        How often to draw again.

    Raises
    ------
    ModelError
        E51: no bound, or bounds that are no numbers or the wrong way round.

    Source: the first draw inside the bounds has the truncated law (von Neumann 1951,
    Various techniques used in connection with random digits).

    Examples
    --------
    >>> import jaxmice as jm
    >>> d = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
    >>> imp = jm.mice(d, m=2, method={"popular": "2l.pan"}, cluster="school", seed=1,
    ...               post={"popular": jm.post.redraw(1, 9)})
    >>> low = imp.imp["popular"].min().min()
    >>> bool(low > 1)
    True
    """
    _check(low is not None or high is not None, "redraw: give a bound, low or high")
    _check(is_whole(max_try, 1), f"redraw: max_try must be a positive integer, got {max_try!r}")
    bounds = squeeze(low, high)
    return Redraw(bounds.low, bounds.high, max_try)


def round(digits: int = 0) -> Round:
    """Round to so many decimal digits.

    Raises
    ------
    ModelError
        E51: not a whole number.
    """
    _check(is_whole(digits, -np.inf), f"round: digits must be a whole number, got {digits!r}")
    return Round(int(digits))


def set_where(where: str, value: Any) -> SetWhere:
    """Set a value where a condition holds.

    Parameters
    ----------
    where
        Condition on columns, such as ``"sex == 'male'"``; the column itself has its drawn
        value there.
    value
        Number or category.

    Raises
    ------
    ModelError
        E51: the condition is no text, or the value none.
    """
    _check(isinstance(where, str), f"set_where: the condition must be text, got {where!r}")
    is_value = is_number(value) or isinstance(value, str | bool)
    _check(is_value, f"set_where: {value!r} is neither a number nor a category")
    return SetWhere(where, value)


def delta(
    shift: float | str | Mapping[Any, float], scale: float = 1.0, where: str | None = None
) -> Delta:
    """Move imputed values away from what was observed: values missing not at random.

    A number is multiplied by `scale` and moved by `shift`. A category, or a count of a
    method for counts, is drawn with its linear predictor moved by `shift`: with log odds,
    probits or logarithms (every category but the first, for categories without order).

    Parameters
    ----------
    shift
        In the units of the column, or of its linear predictor: a number, such a number for
        some of the clusters, or an expression in columns such as ``"-3 + 2 * bmi"``, for
        categories and counts in complete ones.
    scale
        For numbers only.
    where
        Condition for the cells to move. For categories and counts on complete columns only.

    Raises
    ------
    ModelError
        E51: arguments of another type.

    Source: van Buuren S, Boshuizen HC, Knook DL (1999), Multiple imputation of missing blood
    pressure covariates in survival analysis, Statistics in Medicine 18(6), section 5.

    Examples
    --------
    >>> import jaxmice as jm
    >>> d = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
    >>> call = dict(method={"popular": "2l.pan"}, cluster="school", seed=1)
    >>> at_random = jm.mice(d, m=2, **call)
    >>> lower = jm.mice(d, m=2, **call, post={"popular": jm.post.delta(-0.5)})
    >>> float((lower.imp["popular"] - at_random.imp["popular"]).mean().mean().round(6))
    -0.5
    """
    numbers = list(shift.values()) if isinstance(shift, Mapping) else [shift]
    for number in [] if isinstance(shift, str) else numbers:
        _check(is_number(number), f"delta: the shift {number!r} is no number")
    _check(is_number(scale), f"delta: the scale {scale!r} is no number")
    _check(where is None or isinstance(where, str), f"delta: where must be text, got {where!r}")
    kept: Any = shift
    if not isinstance(shift, str):
        kept = dict(shift) if isinstance(shift, Mapping) else float(shift)
    return Delta(kept, float(scale), where)


def is_number(value: Any) -> bool:
    """Say whether something is a finite number."""
    has_value = hasattr(value, "__float__") and not isinstance(value, bool | str)
    return has_value and abs(float(value)) < float("inf")


def _float(bound: float | None) -> float | None:
    return None if bound is None else float(bound)


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise ModelError("E51", message)
