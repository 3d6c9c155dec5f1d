"""What the methods for values missing not at random share."""

import equinox as eqx

from jaxmice.errors import ModelError
from jaxmice.methods._base import Method


class Shifted(Method):
    """Moves the linear predictor of imputed rows by an expression.

    The set-up reads the expression and sees to the shift: the method itself draws as under
    missingness at random, given `Target.delta` where it has a link.
    """

    delta: str | float = eqx.field(default=0.0, static=True)
    """Shift: a number, or an expression in columns such as ``"-3 + 2 * bmi"``."""

    def __check_init__(self) -> None:
        """Refuse a shift that is neither a number nor text."""
        if isinstance(self.delta, bool) or not isinstance(self.delta, int | float | str):
            message = f"{self.name}: delta must be a number or text, got {self.delta!r}"
            raise ModelError("E51", message)
