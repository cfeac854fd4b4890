"""Result records: an estimate with its standard error, a bound with its terms."""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax


class Estimate(NamedTuple):
    """A computed value and its standard error.

    Attributes:
        value: the value, an array of any shape.
        stderr: standard error of `value`, of the same shape; zero where the value is exact.
    """

    value: Any
    stderr: Any


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("value", "terms"),
    meta_fields=("sided", "certified", "assumptions", "confidence"),
)
@dataclasses.dataclass(frozen=True)
class Bound:
    """A generalization bound with what it is made of.

    Attributes:
        value: the bound; never clipped, so it may be vacuous.
        terms: every term by its name, for instance `{"trajectory": ..., "flatness": ...}`.
        sided: `"two"` when |gap| is bounded, `"one"` when the signed gap (test minus train) is.
        certified: whether the value is a theorem under `assumptions`; a heuristic value is never called certified.
        assumptions: what must hold for the statement, one sentence each.
        confidence: probability with which a high-probability bound holds; None for a bound on an expectation.
    """

    value: Any
    terms: Mapping[str, Any]
    sided: str = "two"
    certified: bool = True
    assumptions: tuple[str, ...] = ()
    confidence: float | None = None
