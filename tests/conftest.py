"""Fixtures for the tests of everything that computes with JAX."""

from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from jaxmice.engine import precision

SHARED_COMPILE_SECONDS = 0.2
"""Programs that compile in less are not worth a file."""

MAPS = Path("/proc/self/maps")
MANY_MAPS = 30_000
"""Linux ends a process at 65,530; every compiled program holds dozens until it is dropped."""


@pytest.fixture(scope="session", autouse=True)
def _shared_programs(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Compile a program once in a session, whichever of its processes needs it first.

    The folder is new with each session: nothing compiled earlier takes part.
    """
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if own.name.startswith("popen-") else own
    jax.config.update("jax_compilation_cache_dir", str(shared / "programs"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", SHARED_COMPILE_SECONDS)


@pytest.fixture(scope="session", autouse=True)
def _double_by_default() -> None:
    """Compute in 64 bits where a test asks for nothing else, also on a GPU."""
    precision.ON_ACCELERATORS = "float64"


OPTIMISED = (
    "calibration",
    "reference",
    "samplers/test_samplers_joint_others",
    "samplers/test_samplers_nuts",
)
"""Where tests compute for longer than they compile: beginnings of paths."""


@pytest.fixture(scope="module", autouse=True)
def _quick_compilation(request: pytest.FixtureRequest) -> Iterator[None]:
    """Elsewhere leave out optimisations that cost more than they save; also in subprocesses."""
    if request.path.relative_to(Path(__file__).parent).as_posix().startswith(OPTIMISED):
        yield
        return
    name = "jax_disable_most_optimizations"
    before = jax.config.read(name)
    jax.config.update(name, True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name.upper(), "1")
        yield
    jax.config.update(name, before)


@pytest.fixture(scope="module")
def double_precision() -> Iterator[None]:
    """Compute in 64 bits in one module; no global setting is left changed."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(autouse=True)
def _drop_programs() -> Iterator[None]:
    """Drop compiled programs before they are too many for one process."""
    yield
    if MAPS.exists() and MAPS.read_bytes().count(b"\n") > MANY_MAPS:
        jax.clear_caches()
