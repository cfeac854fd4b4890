"""The mutual-information bound of Xu and Raginsky, on which the bounds for SGLD and SGD stand."""

import jax.numpy as jnp

from jaxgen._core.results import Bound
from jaxgen.bounds._inputs import Scalar, at_least, square_root

INDEPENDENT_EXAMPLES = "The n training examples are independent draws from the data distribution."
SUBGAUSSIAN_LOSS = (
    "The evaluation loss is R-sub-Gaussian under the data distribution for every parameter value: R = 1/2 for the zero-one loss, "
    "half the range for a clipped one; squared error and cross-entropy have no such R unless clipped."
)


def xu_raginsky_decoupling(mutual_information: Scalar, R_total: Scalar) -> Bound:
    r"""What dependence can add to an expectation: $|E f(X, Y) - E f(X, \bar Y)| \le R \sqrt{2 I(X; Y)}$.

    Here $(X, Y)$ are dependent, $\bar Y$ is a copy of $Y$ that is independent of $X$, and $f(x, \bar Y)$ is R-sub-Gaussian
    for every $x$. Arguments are elementwise.

    Args:
        mutual_information: $I(X; Y)$ in nats; what is below zero by at most 1e-8 counts as zero, infinity gives infinity.
        R_total: sub-Gaussian constant of the whole of $f$.

    Returns:
        A two-sided `Bound` with the one term `"information"`.

    Raises:
        ValueError: if `mutual_information` < -1e-8 or `R_total` < 0.

    Source: Xu and Raginsky 2017, Lemma 1; INFO-15.
    """
    information = jnp.maximum(at_least("mutual_information", mutual_information, -1e-8), 0)
    value = at_least("R_total", R_total, 0) * square_root(2 * information)
    return Bound(value, {"information": value}, assumptions=("The function is R_total-sub-Gaussian in its second argument for every first one.",))


def xu_raginsky(mutual_information: Scalar, n: Scalar, R: Scalar) -> Bound:
    r"""The generalization gap by what the weights tell about the sample: $|gen| \le \sqrt{2 R^2 I(W; S) / n}$.

    The gap is $gen = E[L_\mu(W) - L_S(W)]$, test minus train. The mean of n independent losses is $R/\sqrt n$-sub-Gaussian,
    so this is `xu_raginsky_decoupling` at $R/\sqrt n$. Arguments are elementwise.

    Args:
        mutual_information: $I(W; S)$ in nats, or an upper bound of it; may be infinite.
        n: number of training examples.
        R: sub-Gaussian constant of the evaluation loss.

    Returns:
        A two-sided `Bound` with the one term `"information"`.

    Raises:
        ValueError: if `mutual_information` < -1e-8, `n` < 1 or `R` < 0.

    Example:
        The majority of n fair bits has at most log 2 nats about them; its gap for n = 3 is 1/4.

        >>> import math
        >>> from jaxgen import bounds
        >>> round(float(bounds.xu_raginsky(math.log(2), n=3, R=0.5).value), 4)
        0.3399

    Source: Xu and Raginsky 2017, Theorem 1; INFO-15.
    """
    scale = at_least("R", R, 0) / jnp.sqrt(at_least("n", n, 1))
    bound = xu_raginsky_decoupling(mutual_information, scale)
    return Bound(bound.value, bound.terms, assumptions=(INDEPENDENT_EXAMPLES, SUBGAUSSIAN_LOSS))
