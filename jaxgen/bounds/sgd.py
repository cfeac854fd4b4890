"""Bounds for learners trained by SGLD and by SGD: a trajectory term, and for SGD a flatness term.

SGLD adds N(0, sigma_t^2 I) to every step. SGD does not; its bounds compare it with an auxiliary process that takes the
gradients of SGD and adds that noise, and pay by the flatness term for evaluating the loss at the noisy weights. The noise
exists in the analysis only, so every sigma gives a bound; the same one must stand in both terms.

Only the law of the noisy weights given the sample enters the trajectory term. So the gradients are those of the *training*
loss, while R, the gap and the flatness term are of the *evaluation* loss, and cross-entropy training has a bound on the
zero-one gap with R = 1/2 (INFO-31).
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import checked, choice, floating, require
from jaxgen._core.results import Bound
from jaxgen.bounds._inputs import PerStep, Scalar, at_least, positive, steps
from jaxgen.bounds.information import INDEPENDENT_EXAMPLES, SUBGAUSSIAN_LOSS, xu_raginsky

Flatness = Scalar | Callable[[Array], ArrayLike]
"""A flatness term, or the function that computes it from the total noise variance."""

INDEPENDENT_INITIALIZATION = "The initial weights are independent of the training sample."
CHOSEN_NOISE = "The noise is independent of data, initial weights and batches, and its size was not chosen from the training sample."
TRUE_DISPERSION = (
    "The dispersion of every step is an expectation over sample, initial weights and batches (or at least as large); "
    "from an estimate follows an estimate of the bound."
)
SAME_NOISE = "The flatness term was computed at the total variance sum_t noise_std_t^2 of the trajectory term's noise."
TWO_SIDED_FLATNESS = "The flatness term is |E[gamma(W_T, S) - gamma(W_T, S')]| of the evaluation loss, with S' independent of W_T."
ONE_SIDED_FLATNESS = "The flatness term is E gamma(W_T, S) of the evaluation loss, on the training sample."
NOISE_DOES_NOT_HELP = "Noise does not lower the population risk at the final weights: L_mu(w) <= E L_mu(w + Delta)."


def sgld_mutual_information(
    learning_rate: PerStep, noise_std: PerStep, dispersion: PerStep, d: Scalar | None = None, *, form: str = "log"
) -> Float[Array, "..."]:
    r"""An upper bound on the information between sample and noisy weights, step by step.

    $I(W_T; S) \le \sum_t \frac d2 \log(1 + \frac{\lambda_t^2 V_t}{d \sigma_t^2}) \le \sum_t \frac{\lambda_t^2 V_t}{2 \sigma_t^2}$,
    the `"log"` and the `"linear"` form, for SGLD and for the auxiliary weight process of SGD.

    Args:
        learning_rate: $\lambda_t \ge 0$, a scalar or one value per step.
        noise_std: $\sigma_t > 0$, a scalar or one value per step.
        dispersion: $V_t = E\|g_t - E g_t\|^2$, a scalar or one value per step. The mean given the noisy weights
            $W_{t-1}$ makes it smaller; the mean over everything is what K seeds estimate; any constant centre, zero
            say, is valid too. If all three are scalars there is one step.
        d: number of parameters; needed by the `"log"` form.
        form: `"log"` or `"linear"`.

    Returns:
        Nats.

    Raises:
        ValueError: if `noise_std` <= 0, `learning_rate` or `dispersion` < 0, `d` < 1 or missing, the lengths differ or
            `form` is unknown.

    Source: Pensia, Jog and Loh 2018; Wang and Mao 2022; INFO-17, INFO-21.
    """
    choice("form", form, ("log", "linear"))
    rate, noise, dispersion = steps(learning_rate=learning_rate, noise_std=noise_std, dispersion=dispersion)
    signal = (at_least("learning_rate", rate, 0) / positive("noise_std", noise)) ** 2 * at_least("dispersion", dispersion, 0)
    if form == "linear":
        return signal.sum() / 2
    if d is None:
        raise ValueError("form='log' needs d, the number of parameters; got d=None")
    dimension = at_least("d", d, 1)
    return dimension / 2 * jnp.log1p(signal / dimension[..., None]).sum(axis=-1)


def trajectory_term(
    learning_rate: PerStep, noise_std: PerStep, dispersion: PerStep, n: Scalar, R: Scalar, *, form: str = "linear", d: Scalar | None = None
) -> Float[Array, "..."]:
    r"""The part of a bound that pays for what the path tells about the sample, in units of the loss.

    $\sqrt{\frac{R^2}n \sum_t \frac{\lambda_t^2}{\sigma_t^2} V_t}$, or the smaller
    $\sqrt{\frac{R^2 d}n \sum_t \log(1 + \frac{\lambda_t^2 V_t}{d \sigma_t^2})}$ in the `"log"` form.

    It is `xu_raginsky` of `sgld_mutual_information`, and unchanged when learning rate and noise are multiplied by one factor.

    Args:
        learning_rate, noise_std, dispersion, form, d: as in `sgld_mutual_information`.
        n: number of training examples.
        R: sub-Gaussian constant of the evaluation loss.

    Returns:
        The term, of the broadcast shape of `n`, `R` and `d`.

    Raises:
        ValueError: as `sgld_mutual_information`, and if `n` < 1 or `R` < 0.

    Source: Wang and Mao 2022, Theorem 1; INFO-26.
    """
    return xu_raginsky(sgld_mutual_information(learning_rate, noise_std, dispersion, d, form=form), n, R).value


def sgld(learning_rate: PerStep, noise_std: PerStep, dispersion: PerStep, d: Scalar | None, n: Scalar, R: Scalar, *, form: str = "log") -> Bound:
    r"""The gap of SGLD: $|gen| \le \sqrt{\frac{R^2 d}n \sum_t \log(1 + \frac{\lambda_t^2 V_t}{d \sigma_t^2})}$, or its `"linear"` form.

    Args:
        learning_rate, noise_std, dispersion: as in `sgld_mutual_information`; $\|g_t\| \le L$ gives $V_t \le L^2$.
        d: number of parameters; may be None in the `"linear"` form.
        n: number of training examples.
        R: sub-Gaussian constant of the evaluation loss.
        form: `"log"`, or the looser `"linear"`.

    Returns:
        A two-sided `Bound` with the one term `"trajectory"`.

    Raises:
        ValueError: as `sgld_mutual_information`, and if `n` < 1 or `R` < 0.

    Source: Pensia, Jog and Loh 2018, Theorem 1; Wang et al. 2021, with the constants restored; INFO-18.
    """
    value = trajectory_term(learning_rate, noise_std, dispersion, n, R, form=form, d=d)
    assumptions = (INDEPENDENT_EXAMPLES, SUBGAUSSIAN_LOSS, INDEPENDENT_INITIALIZATION, CHOSEN_NOISE, TRUE_DISPERSION)
    return Bound(value, {"trajectory": value}, assumptions=assumptions)


def neu(
    learning_rate: PerStep,
    noise_std: PerStep,
    sensitivity: PerStep,
    variance: PerStep,
    flatness: Flatness,
    n: Scalar,
    R: Scalar,
    *,
    constant: float = 4.0,
) -> Bound:
    r"""The gap of SGD by gradient sensitivity, gradient variance and flatness.

    $|gen| \le \sqrt{\frac{c R^2}n \sum_t \frac{\lambda_t^2}{\sigma_t^2} E[\Psi_t + \tilde V_t]} + |E[\gamma(W_T, S) - \gamma(W_T, S')]|$.

    The source has $c = 4$ with the sensitivity at noise of variance $2 \sum_{i<t} \sigma_i^2$; $c = 2$ with half that
    variance holds too.

    Args:
        learning_rate, noise_std: scalars or one value per step.
        sensitivity: $\Psi_t = E\|\nabla \ell(W_{t-1}, Z) - \nabla \ell(W_{t-1} + \zeta_t, Z)\|^2$ on fresh data; zero at
            the first step (`jaxgen.gradients.sensitivity`). Leaving it out is not valid.
        variance: $\tilde V_t = E\|g_t - \nabla L_\mu(W_{t-1})\|^2$, about the *population* gradient at the same weights;
            about the empirical one it is too small.
        flatness: the two-sided flatness term, or the function that gives it from the total variance $\sum_t \sigma_t^2$.
        n: number of training examples.
        R: sub-Gaussian constant of the evaluation loss.
        constant: $c$, a Python number; below 2 nothing is proved and the result is not certified.

    Returns:
        A two-sided `Bound` with terms `"trajectory"` and `"flatness"`.

    Raises:
        ValueError: if `noise_std` or `constant` <= 0, `n` < 1, any other argument < 0, or the lengths differ.

    Source: Neu, Dziugaite, Haghifam and Roy 2021, Theorem 1; the sharper constant: INFO-25.
    """
    require(constant > 0, f"constant must be positive; got {constant}")
    rate, noise, sensitivity, variance = steps(learning_rate=learning_rate, noise_std=noise_std, sensitivity=sensitivity, variance=variance)
    spread = at_least("sensitivity", sensitivity, 0) + at_least("variance", variance, 0)
    trajectory = trajectory_term(rate, noise, constant * spread, n, R)
    multiple = "2 sum_{i<t} noise_std_i^2, or half of it" if constant >= 4 else "sum_{i<t} noise_std_i^2"
    assumptions = (
        INDEPENDENT_EXAMPLES,
        SUBGAUSSIAN_LOSS,
        INDEPENDENT_INITIALIZATION,
        CHOSEN_NOISE,
        f"Sensitivity and variance are expectations with population gradients, the sensitivity at noise of variance {multiple}.",
    )
    return _with_flatness(trajectory, flatness, noise, "two", assumptions, certified=constant >= 2)


def wang_mao(
    learning_rate: PerStep,
    noise_std: PerStep,
    dispersion: PerStep,
    flatness: Flatness,
    n: Scalar,
    R: Scalar,
    *,
    form: str = "linear",
    d: Scalar | None = None,
    sided: str = "two",
) -> Bound:
    r"""The gap of SGD by gradient dispersion and flatness.

    $|gen| \le \sqrt{\frac{R^2}n \sum_t \frac{\lambda_t^2}{\sigma_t^2} E V_t} + |E[\gamma(W_T, S) - \gamma(W_T, S')]|$.

    $\gamma(w, s) = E_\Delta[L_s(w + \Delta) - L_s(w)]$ with $\Delta \sim N(0, \sum_t \sigma_t^2 I)$ is what noise does to
    the evaluation loss. One-sided: where noise does not lower the population risk, the signed gap is at most
    trajectory $+ E\gamma(W_T, S)$, without test data. As $\sigma$ grows, the two-sided flatness of a bounded loss tends to
    the gap itself, and the bound says nothing: look at the terms.

    Args:
        learning_rate, noise_std: scalars or one value per step.
        dispersion: $E V_t = E\|g_t - E g_t\|^2$, a scalar or one value per step; across seeds that share $W_0$ it is
            smaller and as valid (`jaxgen.gradients.seed_dispersion`).
        flatness: the flatness term, or (then both terms have the same noise for sure) the function that gives it from the
            total variance $\sum_t \sigma_t^2$.
        n: number of training examples.
        R: sub-Gaussian constant of the evaluation loss.
        form: `"linear"` as in the source, or the sharper `"log"` one, which needs `d`, the number of parameters.
        sided: `"two"` or `"one"`; what the flatness term is, and then the bound.

    Returns:
        A `Bound` with terms `"trajectory"` and `"flatness"`.

    Raises:
        ValueError: if `noise_std` <= 0, `learning_rate`, `dispersion`, `R` or a two-sided `flatness` < 0, `n` < 1, `d` is
            missing in the log form, the lengths differ, or `form` or `sided` is unknown.

    Example:
        From K = 6 seeds, with the standard error that the seeds give it:

        >>> import jax
        >>> from jaxgen import bounds, seeds
        >>> gradients = jax.random.normal(jax.random.key(0), (6, 20, 3))  # (K, T, d)
        >>> def total(gradients):
        ...     dispersion = gradients.var(axis=0, ddof=1).sum(axis=-1)
        ...     return bounds.wang_mao(0.1, 0.2, dispersion, lambda variance: 0.01 * variance, n=100, R=0.5).value
        >>> estimate = seeds.jackknife(total, gradients)
        >>> bool(0 < estimate.stderr < estimate.value)
        True

    Source: Wang and Mao 2022, Theorem 1 (1), whose root covers the first term only; INFO-26.
    """
    rate, noise, dispersion = steps(learning_rate=learning_rate, noise_std=noise_std, dispersion=dispersion)
    trajectory = trajectory_term(rate, noise, dispersion, n, R, form=form, d=d)
    assumptions = (INDEPENDENT_EXAMPLES, SUBGAUSSIAN_LOSS, INDEPENDENT_INITIALIZATION, CHOSEN_NOISE, TRUE_DISPERSION)
    return _with_flatness(trajectory, flatness, noise, sided, assumptions)


def _with_flatness(
    trajectory: Array, flatness: Flatness, noise_std: Array, sided: str, assumptions: tuple[str, ...], *, certified: bool = True
) -> Bound:
    choice("sided", sided, ("two", "one"))
    if callable(flatness):
        term = floating("flatness(variance)", flatness(jnp.sum(noise_std**2)))
    else:
        term = floating("flatness", flatness)
        assumptions = (*assumptions, SAME_NOISE)
    if sided == "two":
        term = checked(term, (term >= 0, "a two-sided flatness term is an absolute value and cannot be negative; the signed one needs sided='one'"))
        assumptions = (*assumptions, TWO_SIDED_FLATNESS)
    else:
        term = checked(term, (~jnp.isnan(term), "flatness must be a number; got NaN"))
        assumptions = (*assumptions, ONE_SIDED_FLATNESS, NOISE_DOES_NOT_HELP)
    return Bound(trajectory + term, {"trajectory": trajectory, "flatness": term}, sided=sided, certified=certified, assumptions=assumptions)


def compare_sgd_bounds(
    learning_rate: PerStep,
    noise_std: PerStep,
    dispersion: PerStep,
    sensitivity: PerStep,
    variance: PerStep,
    n: Scalar,
    R: Scalar,
    *,
    d: Scalar | None = None,
    sharp_sensitivity: PerStep | None = None,
) -> dict[str, dict[str, Array]]:
    r"""The trajectory terms that the bounds for SGD draw from one run; the flatness term is common to all.

    None of them is the smallest always: $V$ holds the spread of the weights themselves, so with dispersed initial
    weights, or where the drift of the iterates is unstable, Neu et al. is smaller. $E V_t \le 4 E[\Psi_t + \tilde V_t]$ suffices for the
    opposite, and dispersion between seeds that share $W_0$ often brings it about.

    Args:
        learning_rate, noise_std, dispersion, n, R: as in `wang_mao`.
        sensitivity, variance: as in `neu`, at noise of variance $2 \sum_{i<t} \sigma_i^2$.
        d: number of parameters; adds the row `"wang_mao_log"`.
        sharp_sensitivity: sensitivity at half that variance; adds the row `"neu_sharp"`, with constant 2.

    Returns:
        For `"wang_mao"`, `"neu"` and the optional rows: `"trajectory"`, and `"mutual_information"`, the nats for which
        `xu_raginsky` gives that term.

    Raises:
        ValueError: as `wang_mao` and `neu`.

    Source: Wang and Mao 2022 (their claim of a uniform improvement is corrected); INFO-27, INFO-31.
    """
    bounds = {
        "wang_mao": wang_mao(learning_rate, noise_std, dispersion, 0.0, n, 1.0),
        "neu": neu(learning_rate, noise_std, sensitivity, variance, 0.0, n, 1.0),
    }
    if d is not None:
        bounds["wang_mao_log"] = wang_mao(learning_rate, noise_std, dispersion, 0.0, n, 1.0, form="log", d=d)
    if sharp_sensitivity is not None:
        bounds["neu_sharp"] = neu(learning_rate, noise_std, sharp_sensitivity, variance, 0.0, n, 1.0, constant=2.0)
    scale, count = at_least("R", R, 0), at_least("n", n, 1)
    return {name: {"trajectory": scale * bound.value, "mutual_information": count * bound.value**2 / 2} for name, bound in bounds.items()}
