"""The imputation methods, one file each.

Every module of this folder without a leading underscore is found and its method filed
under its name: to add a method, add a file.
"""

import importlib
import pkgutil
from typing import Any

from jaxmice.errors import ModelError
from jaxmice.methods._base import Method as Method

REGISTRY: dict[str, type[Method]] = {}
"""Method classes by name."""


def register_method(cls: type[Method]) -> type[Method]:
    """File a method class under its name, so that ``method="..."`` finds it.

    Raises
    ------
    ModelError
        E52: the class lacks a declaration, or its name is taken by another class.
    """
    lacking = [
        name for name in ("name", "summary", "source", "kinds", "codes") if not hasattr(cls, name)
    ]
    if lacking:
        raise ModelError("E52", f"method class {cls.__name__} lacks {', '.join(lacking)}")
    known = REGISTRY.get(cls.name, cls)
    if known.__qualname__ != cls.__qualname__:
        raise ModelError("E52", f"method name {cls.name!r} is taken by {known.__name__}")
    REGISTRY[cls.name] = cls
    return cls


def _subclasses(cls: Any) -> list[type[Method]]:
    return [cls, *(deeper for sub in cls.__subclasses__() for deeper in _subclasses(sub))]


for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        importlib.import_module(f"{__name__}.{_module.name}")
for _cls in _subclasses(Method):
    if _cls.__module__.startswith(f"{__name__}.") and hasattr(_cls, "name"):
        register_method(_cls)
