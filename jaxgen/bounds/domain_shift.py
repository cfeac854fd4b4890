r"""What a shift from a source to a target domain adds to the generalization gap (INFO-40)."""

from jaxgen._core.results import Bound
from jaxgen.bounds._inputs import Scalar, at_least
from jaxgen.bounds.information import INDEPENDENT_EXAMPLES, xu_raginsky, xu_raginsky_decoupling

TARGET_SUBGAUSSIAN = (
    "The evaluation loss is R-sub-Gaussian under the target domain for every parameter value; for a bounded one the divergence may be either way."
)


def domain_shift(kl: Scalar, R: Scalar) -> Bound:
    r"""How far risks of two domains are apart: $|L_{\mu'}(w) - L_\mu(w)| \le \sqrt{2 R^2 D(\mu \| \mu')}$ for every w.

    By the Donsker-Varadhan formula, for a loss that is R-sub-Gaussian under $\mu'$. Arguments are elementwise.

    Args:
        kl: divergence of the source from the target, $D(\mu \| \mu')$, in nats; infinity gives infinity.
        R: sub-Gaussian constant of the evaluation loss under the target.

    Returns:
        A two-sided `Bound` of the difference of risks, with the one term `"shift"`.

    Raises:
        ValueError: if `kl` < -1e-8 or `R` < 0.

    Source: INFO-40.
    """
    value = xu_raginsky_decoupling(at_least("kl", kl, -1e-8), at_least("R", R, 0)).value
    return Bound(value, {"shift": value}, assumptions=(TARGET_SUBGAUSSIAN,))


def domain_adaptation(kl: Scalar, mutual_information: Scalar, n: Scalar, R: Scalar) -> Bound:
    r"""The gap from a training sample of one domain to the risk in another: that of the domains plus that of the sample.

    $|E[L_{\mu'}(W) - L_S(W)]| \le \sqrt{2 R^2 D(\mu \| \mu')} + \sqrt{2 R^2 I(W; S) / n}$. Arguments are elementwise.

    Args:
        kl: divergence of the source from the target, in nats.
        mutual_information: $I(W; S)$ of the labelled sample of the source, in nats.
        n: number of its examples.
        R: sub-Gaussian constant of the evaluation loss under either domain.

    Returns:
        A two-sided `Bound` with the terms `"shift"` and `"information"`.

    Raises:
        ValueError: if `kl` or `mutual_information` < -1e-8, `n` < 1 or `R` < 0.

    Example:
        >>> from jaxgen import bounds
        >>> round(float(bounds.domain_adaptation(0.125, 0.5, n=100, R=0.5).value), 3)
        0.3

    Source: INFO-40.
    """
    shift, sample = domain_shift(kl, R), xu_raginsky(mutual_information, n, R)
    assumptions = (INDEPENDENT_EXAMPLES, "The evaluation loss is R-sub-Gaussian under both domains for every parameter value.")
    return Bound(shift.value + sample.value, {**shift.terms, **sample.terms}, assumptions=assumptions)
