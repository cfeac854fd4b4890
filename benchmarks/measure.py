"""What the scripts measure with: medians of several functions taken in turns, and the machine they ran on."""

import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import jax


def medians(runs: dict[str, Any], repeats: int) -> dict[str, float]:
    """Median seconds of every function, taken in turns so that all meet the same machine."""
    for run in runs.values():
        jax.block_until_ready(run())
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def machine() -> dict[str, Any]:
    """Processor, cores, device, version of JAX, and the load of the last minute."""
    load = round(os.getloadavg()[0], 1)
    return {"processor": _processor(), "cores": os.cpu_count(), "device": jax.devices()[0].platform, "jax": jax.__version__, "load": load}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
