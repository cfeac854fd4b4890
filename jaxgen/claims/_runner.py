"""Runs claims in this process: seeds mapped and compiled together with the controls, then judged."""

import io
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from jaxgen._core.checks import require
from jaxgen.claims._chapters import load
from jaxgen.claims._check import Check
from jaxgen.claims._judge import judge_claim, judge_control, named
from jaxgen.claims._registry import Claim
from jaxgen.claims._results import ERROR, FELL_SHORT, HELD, ClaimResult

FAMILY_WISE_LEVEL = 1e-3
"""Probability with which a run in which every statistical claim is true reports that one of them fell short."""

Checks = dict[str, Check]


def level_per_claim(claims: Sequence[Claim]) -> float:
    """The level of one statistical claim of a run: the family-wise level over their number (Bonferroni)."""
    return FAMILY_WISE_LEVEL / max(1, sum(claim.statistical for claim in claims))


def verify(only: str | Iterable[str] = (), *, num_seeds: int | None = None, full: bool = False, seed: int = 0) -> list[ClaimResult]:
    """Runs claims in this process, in float64 whatever the process computes in.

    Args:
        only: ids or patterns, as in `jaxgen verify --only`; empty for the core set.
        num_seeds: number of seeds, for every claim that does not need more; default each claim's own.
        full: whether claims outside of the core set are included.
        seed: global seed; the keys of a claim are a function of it and of the claim's id.

    Returns:
        One result a claim, by chapter and number.

    Raises:
        ValueError: if a member of `only` matches no claim; the message suggests the nearest ids.

    Example:
        >>> from jaxgen import claims
        >>> [result.verdict for result in claims.verify("INFO-1.chain", num_seeds=2)]
        ['held']
    """
    with jax.enable_x64(True):
        chosen = load().select([only] if isinstance(only, str) else only, full=full)
    require(bool(chosen), "there is no claim to run")
    level = level_per_claim(chosen)
    return [run_claim(claim, num_seeds=num_seeds, seed=seed, level=level) for claim in chosen]


def run_claim(claim: Claim, *, num_seeds: int | None = None, seed: int = 0, level: float = FAMILY_WISE_LEVEL, figure: bool = False) -> ClaimResult:
    """Runs one claim and its controls on all seeds; what it raises becomes the verdict `"error"`.

    Args:
        claim: the claim.
        num_seeds: number of seeds, within the claim's `min_seeds` and `max_seeds`; default its own.
        seed: global seed.
        level: level of the claim's statistical test.
        figure: whether its figure is drawn.
    """
    count = claim.seeds_of_run(num_seeds)
    start = time.perf_counter()
    checks, controls, svg, error = [], [], None, None
    try:
        require(bool(claim.controls), f"{claim.id} has no control, which must fail")
        with jax.enable_x64(True):
            keys = claim.keys(count, seed=seed)
            bodies = [claim.body, *(control.body for control in claim.controls)]
            stacked = _over_seeds(bodies, keys, jittable=claim.jittable, chunk_size=claim.chunk_size or count)
            checks = judge_claim(claim, stacked[0], level)
            controls = [judge_control(control, found, level) for control, found in zip(claim.controls, stacked[1:], strict=True)]
            if figure and claim.draw is not None:
                svg = _as_svg(claim.draw, keys[0], claim.id)
        verdict = HELD if all(check.held for check in checks) else FELL_SHORT
    except Exception as caught:
        verdict, error = ERROR, _described(caught)
    seconds = time.perf_counter() - start
    texts = (claim.id, claim.title, claim.source, claim.statement)
    return ClaimResult(*texts, claim.core, claim.statistical, count, verdict, checks, controls, seconds, error, svg)


def _described(error: Exception) -> str:
    """The last frames of its traceback and the message, without notes on filtered frames."""
    description = traceback.TracebackException.from_exception(error, limit=-3)
    return "".join([*description.stack.format(), *traceback.format_exception_only(type(error), error.with_traceback(None))[:1]]).rstrip()


def _over_seeds(bodies: Sequence[Callable[..., Any]], keys: Key[Array, " S"], *, jittable: bool, chunk_size: int) -> list[Checks]:
    """The checks of every body, stacked over the seeds."""

    def one_seed(key):
        return [named(body(key)) for body in bodies]

    if not jittable:
        return _stack([jax.device_get(one_seed(key)) for key in keys], np.stack)
    program = jax.jit(jax.vmap(one_seed))
    count = keys.shape[0]
    starts = range(0, count, chunk_size)
    chunks = [jax.device_get(program(keys[jnp.minimum(jnp.arange(start, start + chunk_size), count - 1)])) for start in starts]
    return jax.tree.map(lambda leaf: leaf[:count], _stack(chunks, np.concatenate))


def _stack(parts: list[Any], join: Callable[[Sequence[Any]], Any]) -> Any:
    return jax.tree.map(lambda *leaves: join(leaves), *parts)


def _as_svg(draw: Callable[[Any], Any], key: Key[Array, ""], id: str) -> str | None:
    try:
        import matplotlib as mpl
        from matplotlib import pyplot
    except ModuleNotFoundError:
        return None
    with mpl.rc_context({"svg.hashsalt": id}), io.StringIO() as buffer:
        figure = draw(key)
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
        pyplot.close(figure)
        text = buffer.getvalue()
    return text[text.index("<svg") :]
