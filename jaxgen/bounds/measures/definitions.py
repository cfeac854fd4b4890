r"""The measures by name.

Names and conventions are those of Jiang et al. 2020 and Dziugaite et al. 2020: a measure $\mu$ of scale `"rate"` is reported as
$\sqrt{\mu / n}$, one of scale `"log"`, whose product or sum would overflow, as the logarithm of that, and one of scale
`"plain"` as it is. Constants are conventional; only rankings matter.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxgen.bounds.measures.quantities import Quantities, pac_bayes
from jaxgen.bounds.norms import bartlett_complexity


class Measure(NamedTuple):
    r"""One complexity measure.

    Attributes:
        formula: what it is, in LaTeX, before the scale.
        compute: its value from what is known of a net, before the scale.
        scale: `"rate"`, `"log"` or `"plain"`.
        needs: what must be there: `"layers"` (a net that is a product of its layers), `"paths"` (a piecewise linear one), `"inputs"`
            (real inputs), `"key"` (random perturbations).
    """

    formula: str
    compute: Callable[[Quantities], Array]
    scale: str = "rate"
    needs: tuple[str, ...] = ()


def _negative_entropy(q: Quantities) -> Array:
    logs = jax.nn.log_softmax(q.logits)
    return jnp.mean(jnp.sum(jnp.exp(logs) * logs, axis=1))


def _log_sum(log_product: Array, depth: int) -> Array:
    """ln of d times the d-th root."""
    return math.log(depth) + log_product / depth


def _log_main(q: Quantities, name: str) -> Array:
    """ln of the product of squared spectral norms over the squared margin, times the sum of squared ratios."""
    ratios = jnp.square(q.norms[name] / q.norms["spectral"])
    return q.log_product("spectral") - 2 * q.log_margin + jnp.log(ratios.sum())


def _log_bartlett(q: Quantities, name: str) -> Array:
    complexity = bartlett_complexity(q.norms["spectral"], q.norms[name])
    return 2 * (jnp.log(q.data_norm) + jnp.log(complexity) - q.log_margin) - math.log(q.n)


def _log_golowich(q: Quantities) -> Array:
    factor = math.sqrt(2 * q.depth * math.log(2)) + 1
    return q.log_product("frobenius") + 2 * (jnp.log(q.largest_input) + math.log(factor) - q.log_margin)


OUTPUTS = {
    "params": Measure(r"\omega, \text{ the number of parameters}", lambda q: jnp.asarray(q.weights.size, q.weights.dtype)),
    "train-loss": Measure(r"\hat L", lambda q: q.loss(q.outputs, q.y).mean(), "plain"),
    "train-error": Measure(r"\hat L_0, \text{ ties being errors}", lambda q: jnp.mean(q.margins <= 0, dtype=q.weights.dtype), "plain"),
    "negative-entropy": Measure(r"\frac1n \sum_i \sum_c p_{ic} \ln p_{ic}, \; p_i = \text{softmax } f(x_i)", _negative_entropy, "plain"),
    "inverse-margin": Measure(r"1 / \gamma^2, \; \gamma \text{ the tenth percentile of margins}", lambda q: 1 / q.margin**2),
    "inverse-input-margin": Measure(
        r"1 / \gamma_x^2, \; \gamma_x \text{ the tenth percentile of } \gamma_i / \lVert \nabla_x \gamma_i \rVert",
        lambda q: 1 / q.input_margin**2,
        needs=("inputs",),
    ),
}

WEIGHTS = {
    "l2": Measure(r"\lVert w \rVert^2", lambda q: q.size(from_start=False)),
    "l2-dist": Measure(r"\lVert w - w^0 \rVert^2", lambda q: q.size(from_start=True)),
}

LAYERS = {
    "param-norm": Measure(r"\sum_i \lVert A_i \rVert_F^2", lambda q: jnp.sum(q.norms["frobenius"] ** 2)),
    "fro-dist": Measure(r"\sum_i \lVert A_i - A_i^0 \rVert_F^2", lambda q: jnp.sum(q.norms["distance_frobenius"] ** 2)),
    "dist-spec-init": Measure(r"\sum_i \lVert A_i - A_i^0 \rVert_2^2", lambda q: jnp.sum(q.norms["distance_spectral"] ** 2)),
    "fro-over-spec": Measure(r"\sum_i \lVert A_i \rVert_F^2 / \lVert A_i \rVert_2^2", lambda q: jnp.sum(q.norms["stable_rank"])),
    "dist-fro-over-spec": Measure(
        r"\sum_i \lVert A_i - A_i^0 \rVert_F^2 / \lVert A_i \rVert_2^2", lambda q: jnp.sum((q.norms["distance_frobenius"] / q.norms["spectral"]) ** 2)
    ),
    "log-prod-of-spec": Measure(r"\prod_i \lVert A_i \rVert_2^2", lambda q: q.log_product("spectral"), "log"),
    "log-prod-of-spec-over-margin": Measure(
        r"\prod_i \lVert A_i \rVert_2^2 / \gamma^2", lambda q: q.log_product("spectral") - 2 * q.log_margin, "log"
    ),
    "log-prod-of-fro": Measure(r"\prod_i \lVert A_i \rVert_F^2", lambda q: q.log_product("frobenius"), "log"),
    "log-prod-of-fro-over-margin": Measure(
        r"\prod_i \lVert A_i \rVert_F^2 / \gamma^2", lambda q: q.log_product("frobenius") - 2 * q.log_margin, "log"
    ),
    "log-sum-of-spec": Measure(r"d \, (\prod_i \lVert A_i \rVert_2^2)^{1/d}", lambda q: _log_sum(q.log_product("spectral"), q.depth), "log"),
    "log-sum-of-spec-over-margin": Measure(
        r"d \, (\prod_i \lVert A_i \rVert_2^2 / \gamma^2)^{1/d}", lambda q: _log_sum(q.log_product("spectral") - 2 * q.log_margin, q.depth), "log"
    ),
    "log-sum-of-fro": Measure(r"d \, (\prod_i \lVert A_i \rVert_F^2)^{1/d}", lambda q: _log_sum(q.log_product("frobenius"), q.depth), "log"),
    "log-sum-of-fro-over-margin": Measure(
        r"d \, (\prod_i \lVert A_i \rVert_F^2 / \gamma^2)^{1/d}", lambda q: _log_sum(q.log_product("frobenius") - 2 * q.log_margin, q.depth), "log"
    ),
    "log-spec-init-main": Measure(
        r"\prod_i \lVert A_i \rVert_2^2 \sum_i \frac{\lVert A_i - A_i^0 \rVert_F^2}{\lVert A_i \rVert_2^2} / \gamma^2",
        lambda q: _log_main(q, "distance_frobenius"),
        "log",
    ),
    "log-spec-orig-main": Measure(
        r"\prod_i \lVert A_i \rVert_2^2 \sum_i \frac{\lVert A_i \rVert_F^2}{\lVert A_i \rVert_2^2} / \gamma^2",
        lambda q: _log_main(q, "frobenius"),
        "log",
    ),
    "log-bartlett-init": Measure(
        r"\lVert X \rVert_F^2 R_A^2 / (n \gamma^2) \text{ about } A^0", lambda q: _log_bartlett(q, "distance_two_one"), "log", ("inputs",)
    ),
    "log-bartlett-orig": Measure(
        r"\lVert X \rVert_F^2 R_A^2 / (n \gamma^2) \text{ about } 0", lambda q: _log_bartlett(q, "two_one"), "log", ("inputs",)
    ),
    "log-golowich": Measure(
        r"B^2 (\sqrt{2 d \ln 2} + 1)^2 \prod_i \lVert A_i \rVert_F^2 / \gamma^2, \; B = \max_i \lVert x_i \rVert", _log_golowich, "log", ("inputs",)
    ),
}

PATHS = {
    "path-norm": Measure(r"\phi_2^2, \; \phi_p^p = \sum_{\text{paths}} \prod |w|^p", lambda q: q.path_norm**2),
    "path-norm-over-margin": Measure(r"\phi_2^2 / \gamma^2", lambda q: (q.path_norm / q.margin) ** 2),
    "l1-path-norm-over-margin": Measure(r"\phi_1^2 / \gamma^2", lambda q: (q.l1_path_norm / q.margin) ** 2),
}

GRADIENTS = {
    "fisher-rao": Measure(r"w^\top F w, \; F = \frac1n \sum_i \nabla \ell_i \nabla \ell_i^\top", lambda q: q.fisher_rao**2),
    "gradient-norm": Measure(r"\lVert \nabla \hat L \rVert^2", lambda q: q.gradient_square, "plain"),
    "gradient-noise": Measure(r"\frac1n \sum_i \lVert \nabla \ell_i - \nabla \hat L \rVert^2", lambda q: q.gradient_noise, "plain"),
}

SIGMA, ALPHA = r"\sigma", r"\alpha"


def _flatness(q: Quantities, *, worst_case: bool, magnitude_aware: bool) -> Array:
    return 1 / q.scale(worst_case=worst_case, magnitude_aware=magnitude_aware) ** 2


def _of_perturbations(*, worst_case: bool, magnitude_aware: bool) -> dict[str, Measure]:
    """The three measures of one kind of perturbation."""
    name = ("sharpness" if worst_case else "pacbayes") + ("-mag" if magnitude_aware else "")
    scale = (ALPHA if worst_case else SIGMA) + ("'" if magnitude_aware else "")
    found = {}
    for start, moved in (("init", r"\Delta = w - w^0"), ("orig", r"\Delta = w")):
        if magnitude_aware:
            spread = r"4 \ln(2 \omega)" if worst_case else "1"
            above = rf"\epsilon^2 + ({scale}^2 + {spread}) \lVert \Delta \rVert^2 / \omega"
            divergence = rf"\frac14 \sum_i \ln \frac{{{above}}}{{\epsilon^2 + {scale}^2 \Delta_i^2}}"
        else:
            factor = r" \ln(2 \omega)" if worst_case else ""
            divergence = rf"\frac{{\lVert \Delta \rVert^2{factor}}}{{4 {scale}^2}}"
        compute = partial(pac_bayes, from_start=start == "init", worst_case=worst_case, magnitude_aware=magnitude_aware)
        found[f"{name}-{start}"] = Measure(rf"{divergence} + \ln \frac{{n}}{{{scale}}} + 10, \; {moved}", compute, needs=("key",))
    compute = partial(_flatness, worst_case=worst_case, magnitude_aware=magnitude_aware)
    return found | {f"{name}-flatness": Measure(rf"1 / {scale}^2", compute, needs=("key",))}


MEASURES: dict[str, Measure] = (
    OUTPUTS
    | WEIGHTS
    | {name: measure._replace(needs=("layers", *measure.needs)) for name, measure in LAYERS.items()}
    | {name: measure._replace(needs=("paths",)) for name, measure in PATHS.items()}
    | GRADIENTS
    | {
        name: measure
        for worst_case in (False, True)
        for magnitude_aware in (False, True)
        for name, measure in _of_perturbations(worst_case=worst_case, magnitude_aware=magnitude_aware).items()
    }
)
"""Every measure by its name, with its formula."""


def scaled(measure: Measure, value: Array, n: int) -> Array:
    """A measure's value in the form in which it is reported."""
    if measure.scale == "plain":
        return value
    return (value - math.log(n)) / 2 if measure.scale == "log" else jnp.sqrt(value / n)
