"""The file: text that describes, and arrays, in one zip archive."""

import json
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxmice.errors import DataError
from jaxmice.files import CODE, reading, replacing

FORMAT = 1
"""Number of the layout; a file with a higher one is from a later version."""

CONTENT = "content.json"


def write(path: Any, content: dict[str, Any], arrays: Sequence[np.ndarray]) -> None:
    """Write a file; it takes the place of an older one when it is complete."""
    with replacing(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(CONTENT, json.dumps({"jaxmice": FORMAT, **content}))
        for number, array in enumerate(arrays):
            with archive.open(f"{number}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def read(path: Any) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Read a file.

    Raises
    ------
    DataError
        E70: not such a file, damaged, or written by a later version.
    """
    with reading(path, "a file of jaxmice") as source, zipfile.ZipFile(source) as archive:
        content = json.loads(archive.read(CONTENT))
        if content["jaxmice"] > FORMAT:
            message = f"{str(path)!r} was written by a later version of jaxmice; update jaxmice"
            raise DataError(CODE, message)
        arrays = []
        for number in range(len(archive.namelist()) - 1):
            with archive.open(f"{number}.npy") as member:
                arrays.append(np.lib.format.read_array(member, allow_pickle=False))
    return content, arrays
