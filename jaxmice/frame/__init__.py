"""The border between pandas and arrays: coding columns, and turning draws back into them."""

from jaxmice.frame._input import in_row_order
from jaxmice.frame.columns import Clusters, Column, Frame, Kind
from jaxmice.frame.complete import complete, complete_one
from jaxmice.frame.decode import check_target, decode
from jaxmice.frame.deduce import deduce_level2
from jaxmice.frame.encode import encode

__all__ = [
    "Clusters",
    "Column",
    "Frame",
    "Kind",
    "check_target",
    "complete",
    "complete_one",
    "decode",
    "deduce_level2",
    "encode",
    "in_row_order",
]
