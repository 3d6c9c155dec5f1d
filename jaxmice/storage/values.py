"""Values as text and arrays, and back: what JSON knows, arrays, pandas, and our own.

Everything else is a dict with the key ``"$"``, which says what it is.
"""

import dataclasses
from typing import Any

import jax
import numpy as np
import pandas as pd
from pandas.api import types as pdt

from jaxmice import post
from jaxmice.errors import DataError
from jaxmice.events import Event
from jaxmice.model.role import Roles

CODE = "E72"
"""A value that cannot be stored."""

OWN = {
    kind.__name__: kind
    for kind in [Event, Roles, *vars(post).values()]
    if isinstance(kind, type) and dataclasses.is_dataclass(kind)
}
"""Our own types that an argument or a log may hold."""


class Packer:
    """Turns values into what JSON knows; arrays are set aside in `arrays`."""

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []

    def pack(self, value: Any, what: str = "this") -> Any:
        """Return a value as JSON.

        Parameters
        ----------
        value
            The value.
        what
            What it is, for the complaint.

        Raises
        ------
        DataError
            E72: a function, or an object of another library.
        """
        if value is None or isinstance(value, str | bool | int | float):
            return value
        if isinstance(value, np.generic):
            return self.pack(value.item(), what)
        if isinstance(value, list):
            return [self.pack(item, what) for item in value]
        if isinstance(value, dict):
            items = [[self.pack(k, what), self.pack(v, f"{what}: {k}")] for k, v in value.items()]
            return {"$": "dict", "items": items}
        if isinstance(value, tuple | range):
            return {"$": "tuple", "items": self.pack(list(value), what)}
        if isinstance(value, np.ndarray | jax.Array):
            return self._array(np.asarray(value), what)
        if isinstance(value, pd.DataFrame):
            columns = [self._pandas(value[name], what) for name in value]
            index = self.pack(value.index, what)
            return {"$": "frame", "names": list(value), "columns": columns, "index": index}
        if isinstance(value, pd.Series):
            index = self.pack(value.index, what)
            return {"$": "series", "values": self._pandas(value, what), "index": index}
        if isinstance(value, pd.Index):
            return self._index(value, what)
        if value is pd.NA or value is pd.NaT:
            return {"$": "NA" if value is pd.NA else "NaT"}
        if type(value).__name__ in OWN and isinstance(value, OWN[type(value).__name__]):
            names = [field.name for field in dataclasses.fields(value)]
            fields = {name: self.pack(getattr(value, name), what) for name in names}
            return {"$": "own", "type": type(value).__name__, "fields": fields}
        message = f"{what} is of type {type(value).__name__}, which cannot be stored"
        hint = "; write it as an expression or with jaxmice.post" if callable(value) else ""
        raise DataError(CODE, message + hint)

    def _array(self, array: np.ndarray, what: str) -> Any:
        if array.dtype == object:
            items = self.pack(array.ravel().tolist(), what)
            return {"$": "objects", "items": items, "shape": list(array.shape)}
        self.arrays.append(array)
        return {"$": "array", "number": len(self.arrays) - 1}

    def _index(self, index: pd.Index, what: str) -> Any:
        if isinstance(index, pd.RangeIndex):
            steps = [index.start, index.stop, index.step]
            return {"$": "range", "steps": steps, "name": self.pack(index.name, what)}
        if isinstance(index, pd.MultiIndex):
            levels = [self._pandas(index.get_level_values(i), what) for i in range(index.nlevels)]
            return {"$": "levels", "levels": levels, "names": self.pack(list(index.names), what)}
        return {
            "$": "index",
            "values": self._pandas(index, what),
            "name": self.pack(index.name, what),
        }

    def _pandas(self, values: Any, what: str) -> Any:
        """Return the values of a series or an index, with their dtype."""
        dtype, array = values.dtype, values.array
        if isinstance(dtype, pd.CategoricalDtype):
            out = {"dtype": "category", "of": self._pandas(dtype.categories, what)}
            return {**out, "codes": self.pack(array.codes), "ordered": dtype.ordered}
        if isinstance(dtype, pd.DatetimeTZDtype):
            unit, zone = dtype.unit, str(dtype.tz)
            return {"dtype": "zoned", "times": self.pack(array.asi8), "unit": unit, "zone": zone}
        if isinstance(dtype, np.dtype):
            plain = values.to_numpy()
            if dtype.kind in "mM":
                return {"dtype": str(dtype), "times": self.pack(plain.view(np.int64))}
            return {"dtype": str(dtype), "values": self.pack(plain, what)}
        missing = values.isna()
        if isinstance(dtype, pd.StringDtype):
            texts = [None if gone else str(x) for x, gone in zip(array, missing, strict=True)]
            name = "str" if str(dtype) == "str" else f"string[{dtype.storage}]"
            return {"dtype": name, "texts": texts}
        plain_dtype = getattr(dtype, "numpy_dtype", None)
        if plain_dtype is None or pdt.pandas_dtype(str(dtype)) != dtype:
            raise DataError(CODE, f"{what} is of dtype {dtype}, which cannot be stored")
        plain = array.to_numpy(dtype=plain_dtype, na_value=plain_dtype.type(0))
        out = {"dtype": str(dtype), "values": self.pack(plain)}
        return {**out, "missing": self.pack(np.asarray(missing))}


def unpack(value: Any, arrays: list[np.ndarray]) -> Any:
    """Return what was packed."""
    if isinstance(value, list):
        return [unpack(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value["$"]
    if kind == "dict":
        return {_key(unpack(k, arrays)): unpack(v, arrays) for k, v in value["items"]}
    if kind == "tuple":
        return tuple(unpack(value["items"], arrays))
    if kind == "array":
        return arrays[value["number"]]
    if kind == "objects":
        out = np.empty(len(value["items"]), object)
        out[:] = unpack(value["items"], arrays)
        return out.reshape(value["shape"])
    if kind in ("NA", "NaT"):
        return pd.NA if kind == "NA" else pd.NaT
    if kind == "own":
        fields = {name: unpack(field, arrays) for name, field in value["fields"].items()}
        return OWN[value["type"]](**fields)
    return _unpack_pandas(kind, value, arrays)


def _key(key: Any) -> Any:
    return tuple(key) if isinstance(key, list) else key


def _unpack_pandas(kind: str, value: dict[str, Any], arrays: list[np.ndarray]) -> Any:
    if kind == "range":
        start, stop, step = value["steps"]
        return pd.RangeIndex(start, stop, step, name=unpack(value["name"], arrays))
    if kind == "levels":
        levels = [_values(level, arrays) for level in value["levels"]]
        return pd.MultiIndex.from_arrays(levels, names=unpack(value["names"], arrays))
    if kind == "index":
        values = _values(value["values"], arrays)
        return pd.Index(values, dtype=values.dtype, name=unpack(value["name"], arrays))
    index = unpack(value["index"], arrays)
    if kind == "series":
        values = _values(value["values"], arrays)
        return pd.Series(values, index=index, dtype=values.dtype)
    columns = {}
    for name, column in zip(value["names"], value["columns"], strict=True):
        values = _values(column, arrays)
        # The dtype is stated because pandas would read an object array of text as strings.
        columns[name] = pd.Series(values, index=index, dtype=values.dtype)
    return pd.DataFrame(columns, index=index, columns=value["names"])


def _values(value: dict[str, Any], arrays: list[np.ndarray]) -> Any:
    dtype = value["dtype"]
    if dtype == "category":
        kind = pd.CategoricalDtype(pd.Index(_values(value["of"], arrays)), value["ordered"])
        return pd.Categorical.from_codes(unpack(value["codes"], arrays), dtype=kind)
    if dtype == "zoned":
        times = pd.DatetimeIndex(unpack(value["times"], arrays).view(f"M8[{value['unit']}]"))
        return times.tz_localize("UTC").tz_convert(value["zone"]).array
    if "times" in value:
        return unpack(value["times"], arrays).view(dtype)
    if "texts" in value:
        return pd.array(value["texts"], dtype=dtype)
    values = unpack(value["values"], arrays)
    if "missing" not in value:
        return values
    out = pd.array(values, dtype=dtype)
    out[unpack(value["missing"], arrays)] = pd.NA
    return out
