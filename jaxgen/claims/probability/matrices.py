"""Claims about sums of independent random matrices (PROB-8)."""

import jax
import jax.numpy as jnp

from jaxgen import bounds
from jaxgen.claims import at_most, claim, equal

NUM_DRAWS = 200


def _unit_matrices(key, m):
    matrices = jax.random.normal(key, (m, 6, 4))
    return matrices / jnp.linalg.norm(matrices, 2, axis=(1, 2), keepdims=True)


def _norms(key, matrices):
    signs = jax.random.rademacher(key, (NUM_DRAWS, len(matrices)), float)
    return jnp.linalg.norm(jnp.einsum("sm,mij->sij", signs, matrices), 2, axis=(1, 2))


@claim(
    "PROB-8",
    title="Bernstein's inequality for random matrices",
    source="Arora et al., Theory of Deep Learning, Lemma 1.1.8; Tropp 2015, Theorem 6.1.1",
    statement=r"\mathbb{E} \lVert Z \rVert \le \sqrt{2 V \ln(n_1 + n_2)} + \frac M3 \ln(n_1 + n_2), \qquad"
    r" \Pr[\lVert Z \rVert \ge t] \le (n_1 + n_2) \exp\left(-\frac{t^2 / 2}{V + M t / 3}\right)",
    num_seeds=8,
    budget=5.0,
)
def matrix_bernstein(key):
    """Series of thirty matrices 6 x 4 of norm one with random signs, 200 draws; frequencies may exceed the bound by four standard errors."""
    matrices = _unit_matrices(key, 30)
    norms, variance = _norms(jax.random.fold_in(key, 1), matrices), bounds.matrix_variance_rademacher(matrices)
    thresholds = jnp.array([8.0, 10.0, 12.0, 15.0])
    limits = bounds.matrix_bernstein_tail(thresholds, variance, 1.0, 6, 4)
    frequencies = jnp.mean(norms >= thresholds[:, None], axis=1)
    units = jnp.eye(4)[:, :, None] * jnp.eye(4)[:, None, :]
    moments = matrices @ jnp.swapaxes(matrices, 1, 2), jnp.swapaxes(matrices, 1, 2) @ matrices
    return {
        "mean": at_most(norms.mean(), bounds.matrix_bernstein_mean(variance, 1.0, 6, 4)),
        "tail": at_most(frequencies, limits, slack=4 * jnp.sqrt(jnp.clip(limits * (1 - limits), 1e-4, 1) / NUM_DRAWS)),
        "variance": equal(bounds.matrix_variance(*moments), variance, rtol=1e-10),
        "diagonal signs": equal(
            bounds.matrix_bernstein_mean(bounds.matrix_variance_rademacher(units), 1.0, 4, 4), jnp.sqrt(2 * jnp.log(8)) + jnp.log(8) / 3, rtol=1e-12
        ),
    }


@matrix_bernstein.control("the largest of the summands' variances for the variance of the sum")
def _(key):
    matrices = _unit_matrices(key, 200)
    norms = _norms(jax.random.fold_in(key, 1), matrices)
    largest = jax.vmap(bounds.matrix_variance_rademacher)(matrices[:, None]).max()
    return at_most(norms.mean(), bounds.matrix_bernstein_mean(largest, 1.0, 6, 4))
