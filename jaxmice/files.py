"""Files: written whole or not at all, with one clear message when they cannot be used."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from jaxmice.errors import DataError

CODE = "E70"
"""A file that cannot be read or written."""


@contextmanager
def replacing(path: Any) -> Iterator[Path]:
    """Give a path to write to; what is there takes its place only when all is written.

    Raises
    ------
    DataError
        E70: the folder does not exist, or cannot be written to.
    """
    target = Path(path)
    # Beside the target, so that the last step is a renaming and cannot be cut in half.
    part = target.with_name(f".{os.getpid()}-{target.name}")
    try:
        yield part
        os.replace(part, target)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(CODE, f"{str(path)!r} cannot be written: {reason}") from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def reading(path: Any, what: str) -> Iterator[Path]:
    """Give the path of an existing file; whatever goes wrong in reading is one error.

    Raises
    ------
    DataError
        E70: there is no such file, or it is not what it should be.
    """
    source = Path(path)
    if not source.exists():
        raise DataError(CODE, f"there is no file {str(path)!r}")
    try:
        with warnings.catch_warnings():
            # What NumPy says of a file that is not what it should be helps nobody.
            warnings.simplefilter("ignore", RuntimeWarning)
            yield source
    except DataError:
        raise
    except Exception as error:  # each format has its own ways to complain
        said = (str(error).splitlines() or [type(error).__name__])[0]
        message = f"{str(path)!r} cannot be read as {what}, or is damaged: {said}"
        raise DataError(CODE, message) from error


def optional(module: str, purpose: str) -> Any:
    """Import a library that is not always there.

    Raises
    ------
    DataError
        E70: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        message = f"{purpose} needs {module}; pip install 'jaxmice[io]'"
        raise DataError(CODE, message) from error
