"""Whether data are separable, with a proof."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from jaxgen._core.checks import require
from jaxgen.implicit_bias.margins import absorb_labels
from jaxgen.implicit_bias.max_margin import max_margin
from jaxgen.implicit_bias.norms import lp_norm


class SeparationCertificate(NamedTuple):
    """What proves that data are separable or are not; made by `is_separable`.

    Attributes:
        w: a classifier of the shape of one example, with entries of size at most one, that separates separable data; zero otherwise.
        margin: min_i y_i <w, x_i> / ||x_i||_2; positive proves separability.
        multipliers: weights lambda >= 0 that sum to one.
        residual: max_j |sum_i lambda_i y_i x_ij| / max_i lambda_i ||x_i||_2, where examples that are
            zero count as of norm one; zero proves that data are not separable.
        finite_minimizer: whether the sum of exponential losses has a finite minimizer, which holds if and only if there are
            multipliers all of which are positive, or else, with Z the rows y_i x_i, if no w has Z w >= 0 and Z w != 0. Data
            that are not separable may have none.
    """

    w: Array
    margin: Float[Array, ""]
    multipliers: Float[Array, " n"]
    residual: Float[Array, ""]
    finite_minimizer: Bool[Array, ""]


class Separation(NamedTuple):
    """Whether data are separable, and what proves it; made by `is_separable`.

    Attributes:
        separable: whether some w has y_i <w, x_i> > 0 for every i.
        certificate: the proof.
    """

    separable: Bool[Array, ""]
    certificate: SeparationCertificate


def is_separable(x: Num[Array, "n ..."], y: Num[Array, " n"], *, tol: float | None = None) -> Separation:
    """Whether some w has y_i <w, x_i> > 0 for every i, with a proof, and whether the exponential loss has a finite minimizer.

    The proof is a w, or multipliers lambda >= 0 that sum to one with sum_i lambda_i y_i x_i = 0. Both come from the maximal
    margin of examples of norm one over the cube |w_j| <= 1, and its dual. For a finite minimizer multipliers must be
    positive: the same dual is solved with multipliers of at least sqrt(tol) / n, which is the maximal margin of examples
    moved towards their mean.

    Args:
        x: n examples of any one shape.
        y: labels, -1 or 1; of one class alone they are legal.
        tol: margins and residuals below it count as zero; default 1e-8 in float64, 1e-4 otherwise.

    Returns:
        The verdict and its certificate. Where the margin is positive but below `tol`, or the solver has fallen short of
        `tol`, `certificate.margin` and `certificate.residual` tell what is known.

    Raises:
        ValueError: if shapes do not fit, or a label is neither -1 nor 1 (NaN in the certificate when traced), or `tol` is not
            in (0, 1).

    Source: Theory of Deep Learning, section 8.3; spec BIAS-24, BIAS-27. Cost: two calls of `max_margin`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import implicit_bias
        >>> x = jnp.array([[1.0, 0.0], [2.0, 0.0], [3.0, 1.0]])
        >>> separable, certificate = implicit_bias.is_separable(x, jnp.array([1, -1, 1]))
        >>> bool(separable), [round(float(weight), 3) for weight in certificate.multipliers]
        (False, [0.667, 0.333, 0.0])
    """
    z = absorb_labels(x, y)
    shape, z = z.shape[1:], z.reshape(len(z), -1)
    tol = (1e-8 if z.dtype == jnp.float64 else 1e-4) if tol is None else tol
    require(0 < tol < 1, f"tol must be in (0, 1); got {tol}")
    lengths = jnp.linalg.norm(z, axis=1)
    lengths = jnp.where(lengths > 0, lengths, 1)
    rows = z / lengths[:, None]
    least = math.sqrt(tol)
    both = jnp.stack([rows, (1 - least) * rows + least * rows.mean(axis=0)])
    found = jax.vmap(lambda rows: max_margin(rows, lp_norm(math.inf), tol=tol))(both)
    best, mixed = found.multipliers
    positive = (1 - least) * mixed + least / len(rows)
    margin, finite = found.margin[0], jnp.abs(positive @ rows).sum() <= 10 * tol
    weights = jnp.where(finite, positive, best)
    multipliers = weights / lengths
    return Separation(
        separable=margin > tol,
        certificate=SeparationCertificate(
            w=found.w[0].reshape(shape),
            margin=margin,
            multipliers=multipliers / multipliers.sum(),
            residual=jnp.abs(weights @ rows).max() / weights.max(),
            finite_minimizer=finite,
        ),
    )
