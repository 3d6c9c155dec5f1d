"""Predictors with cells that nothing fills."""

from collections.abc import Sequence

import numpy as np

from jaxmice.events import EventLog
from jaxmice.frame import Frame
from jaxmice.model.names import Complaints
from jaxmice.model.row import Row


def check_missing_predictors(
    rows: Sequence[Row],
    frame: Frame,
    where: np.ndarray,
    ignore: np.ndarray,
    action: str,
    events: EventLog,
) -> None:
    """Refuse or drop predictors that stay missing in rows that take part.

    Parameters
    ----------
    where
        (n, p) cells that are imputed; False for columns that are no target.
    ignore
        (n,) rows without influence; they matter only where they are imputed.
    action
        ``"error"`` or ``"drop"``.

    Raises
    ------
    ModelError
        E19, all predictors at once.
    """
    complaints = Complaints()
    names = list(frame.columns)
    stays = {
        j: left
        for j, name in enumerate(names)
        if (left := frame.columns[name].missing & ~where[:, j]).any()
    }
    for row in rows:
        taking_part = ~ignore | where[:, names.index(row.target)]
        for j, left in stays.items():
            if not row.uses(j) or not (left & taking_part).any():
                continue
            name = names[j]
            if action == "drop":
                row.codes[j] = 0
                events.add(
                    "missing_predictor",
                    f"{name!r} is not used for {row.target!r}: some of its cells stay missing",
                    dep=row.target,
                    meth=row.method.name,
                    out=name,
                )
            else:
                complaints.add(
                    "E19",
                    f"{name!r} stays missing (method '', where=False, in no block, or no visit) "
                    "but predicts "
                    f"{row.target!r}; impute it, give it code 0, or set "
                    "on_missing_predictor='drop'",
                )
    complaints.raise_any()
