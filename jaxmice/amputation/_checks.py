"""Whether layers of holes fit the data, and are as random as they say."""

from collections.abc import Sequence

import numpy as np

from jaxmice.amputation._input import check_known, clusters_in
from jaxmice.amputation._scores import totals
from jaxmice.amputation.layers import Layer, Level2, Sporadic, Systematic, columns_of, mechanism
from jaxmice.errors import AmputeError
from jaxmice.frame import Frame
from jaxmice.wording import some


def check_layers(
    frame: Frame,
    whole: Sequence[Systematic | Level2],
    scattered: Sequence[Sporadic],
    allow_inconsistent: bool,
) -> None:
    """Raise for the first layer that does not fit.

    Raises
    ------
    AmputeError
        E12, E14, E20, E38 or E57; see `multilevel_ampute`.
    """
    codes, labels, J = clusters_in(frame)
    assert frame.clusters is not None
    layers: list[Layer] = [*whole, *scattered]
    for name, layer in zip(names_of(layers), layers, strict=True):
        columns = columns_of(layer)
        terms = [*layer.row_columns, *layer.cluster_columns]
        check_known([*columns, *terms], frame, name)
        if frame.clusters.name in [*columns, *terms]:
            raise AmputeError(
                "E57", f"{name}: the cluster column {frame.clusters.name!r} takes no part"
            )
        for column in columns:
            level = frame.columns[column].level
            if isinstance(layer, Level2) and level != 2:
                _, first = np.unique(codes, return_index=True)
                values = frame.columns[column].values
                odd = totals(codes, values != values[first][codes], J) > 0
                where = [labels[j] for j in np.flatnonzero(odd)]
                if where:
                    raise AmputeError(
                        "E14",
                        f"{name}: column {column!r} declared level 2 but varies in clusters "
                        f"{some(where)}",
                    )
            if isinstance(layer, Sporadic) and level == 2 and not allow_inconsistent:
                raise AmputeError(
                    "E20",
                    f"{name}: column {column!r} is constant in clusters, so scattered holes give "
                    "its value away; use level2=Level2(...), or allow_inconsistent=True",
                )
        if isinstance(layer, Sporadic):
            flat = [column for column in layer.within if frame.columns[column].level == 2]
            if flat:
                raise AmputeError(
                    "E57", f"{name}: {some(flat)} do not vary within clusters; use between"
                )
    if len({layer.freq is None for layer in scattered}) > 1:
        raise AmputeError("E57", "freq: give it for all sporadic patterns or for none")
    _check_random(layers, len(whole))


def names_of(layers: Sequence[Layer]) -> list[str]:
    """Name layers by kind and number."""
    kinds = [type(layer).__name__.lower() for layer in layers]
    return [f"{kind} {kinds[: i + 1].count(kind)}" for i, kind in enumerate(kinds)]


def _check_random(layers: Sequence[Layer], whole: int) -> None:
    """Raise E38 where a weight under MAR is on something that goes missing."""
    lost = {column for layer in layers[:whole] for column in columns_of(layer)}
    anywhere = {column for layer in layers for column in columns_of(layer)}
    for name, layer in zip(names_of(layers), layers, strict=True):
        if mechanism(layer) != "MAR":
            continue
        for column in layer.row_columns:
            if column in lost or column in columns_of(layer):
                raise _not_random(name, f"{column!r}")
        for column in layer.cluster_columns:
            if column in anywhere:
                raise _not_random(name, f"the cluster mean of {column!r}")


def _not_random(name: str, what: str) -> AmputeError:
    return AmputeError(
        "E38",
        f"{name}: weight on {what}, which is amputed, makes it MNAR; "
        "drop the weight or pass mech='MNAR'",
    )
