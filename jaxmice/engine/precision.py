"""Precision and device of a run, scoped: no global setting is ever left changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

from jaxmice.errors import RunError

_enable_x64: Any = getattr(jax, "enable_x64", None)
if _enable_x64 is None:  # before JAX 0.8
    import jax.experimental

    _enable_x64 = getattr(jax.experimental, "enable_x64")  # noqa: B009 (newer JAX lacks it)

ON_ACCELERATORS = "float32"
"""Precision by default elsewhere than on a CPU."""


@contextmanager
def precision_scope(precision: str, device: Any = None) -> Iterator[None]:
    """Compute in ``"float64"`` or ``"float32"``, on a device, inside the block only.

    A GPU would round the factors of products in 32 bits to 10 bits and the range of eight
    (TensorFloat-32): cross-products would not be positive definite.
    """
    with (
        _enable_x64(precision == "float64"),
        jax.default_matmul_precision("highest"),
        # What users ask of their own programs is not asked of these.
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        if device is None:
            yield
        else:
            with jax.default_device(device):
                yield


def resolve(device: Any, precision: str | None) -> tuple[Any, str]:
    """Return the device to use and the precision that fits it.

    Parameters
    ----------
    device
        ``None`` (JAX's default), ``"cpu"``, ``"gpu"`` or a `jax.Device`.
    precision
        ``"float64"``, ``"float32"`` or ``None``: 64 bits on a CPU, 32 elsewhere.

    Raises
    ------
    RunError
        E53: no such device, or an unknown precision.
    """
    if precision not in (None, "float64", "float32"):
        raise RunError("E53", f"precision must be 'float64' or 'float32', got {precision!r}")
    if device is not None and not isinstance(device, (str, jax.Device)):
        raise RunError("E53", f"device must be 'cpu', 'gpu' or a jax.Device, got {device!r}")
    if isinstance(device, str):
        try:
            device = jax.devices(device)[0]
        except RuntimeError as error:
            offered = ", ".join(sorted({d.platform for d in jax.devices()}))
            raise RunError("E53", f"no device {device!r} here; available: {offered}") from error
    return device, precision or ("float64" if platform(device) == "cpu" else ON_ACCELERATORS)


def platform(device: Any = None) -> str:
    """Return the kind of a device, by default of the one that JAX would take: ``"cpu"``, ..."""
    device = device or default_device()
    if isinstance(device, str):
        return device
    found: str = (device or jax.devices()[0]).platform
    return found


def default_device() -> Any:
    """Return the device that JAX is set to: a `jax.Device`, the name of a kind, or None."""
    return getattr(jax.config, "jax_default_device")  # noqa: B009 (mypy lacks it)
