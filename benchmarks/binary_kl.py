"""The inverse of the binary relative entropy on a million pairs, in both precisions and on both sides.

Empirical risks and complexities are uniform logarithmically from 1e-12 to 1 and to 10. Results go to `results/` as JSON.
"""

import json
from pathlib import Path

import jax
from measure import machine, medians

from jaxgen import bounds

NUM_PAIRS, REPEATS, TARGET = 1_000_000, 9, 1.0


def timed():
    """Seconds of each side in the precision that is on."""
    keys = jax.random.split(jax.random.key(0))
    q = 10 ** jax.random.uniform(keys[0], (NUM_PAIRS,), float, minval=-12, maxval=0)
    c = 10 ** jax.random.uniform(keys[1], (NUM_PAIRS,), float, minval=-12, maxval=1)
    compiled = {side: jax.jit(lambda q, c, side=side: bounds.binary_kl_inverse(q, c, side=side)) for side in ("upper", "lower")}
    return medians({f"{q.dtype}, {side}": lambda side=side: compiled[side](q, c) for side in compiled}, REPEATS)


def main():
    """Runs everything, prints and writes the figures."""
    times = timed()
    with jax.enable_x64(True):
        times |= timed()
    found = {"machine": machine(), "pairs": NUM_PAIRS} | {f"{name}, s": round(seconds, 4) for name, seconds in times.items()}
    found["met"] = max(times.values()) < TARGET
    for name, value in found.items():
        print(f"{name:24} {value}")
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    name = f"binary-kl-{found['machine']['device']}.json"
    (folder / name).write_text(json.dumps(found, indent=1) + "\n")
    print(f"medians of {REPEATS}; written to {folder.name}/{name}")


if __name__ == "__main__":
    main()
