"""On what the figures of a page were made."""

import os
import platform
from datetime import date
from pathlib import Path


def made_by(command: str) -> str:
    """Return the first words of a page: command, date, processor and versions."""
    import jax

    import jaxmice as jm

    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        names = [x for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x]
        cpu = names[0].split(":")[1].strip() if names else cpu
    device = jax.devices()[0]
    gpu = "" if device.platform == "cpu" else f", {device.device_kind}"
    return (
        f"Made by `{command}` on {date.today()}: {cpu}, {os.cpu_count()} cores{gpu}; "
        f"Python {platform.python_version()}, jaxmice {jm.__version__}, jax {jax.__version__}"
    )
