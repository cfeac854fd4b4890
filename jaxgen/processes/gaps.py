"""Generalization gaps over training seeds, and what noise in the weights does to them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, PyTree

from jaxgen import curvature, gradients, seeds
from jaxgen._core.checks import leading_axis, require
from jaxgen._core.monte_carlo import std_of
from jaxgen._core.results import Estimate
from jaxgen.processes.training import LossFn


class GeneralizationGap(NamedTuple):
    """An estimate of the expected generalization gap, with what it was averaged from.

    Attributes:
        value: mean over seeds of test minus training risk.
        stderr: its standard error over seeds.
        per_seed: test minus training risk of every seed.
        train_risks: training risk of every seed.
        test_risks: test risk of every seed.
    """

    value: Float[Array, ""]
    stderr: Float[Array, ""]
    per_seed: Float[Array, " K"]
    train_risks: Float[Array, " K"]
    test_risks: Float[Array, " K"]


class GapDecomposition(NamedTuple):
    """The gap as a sum of three; the values add up, the standard errors do not.

    Attributes:
        gap: E[L_mu(W) - L_S(W)], equal to the sum of the others.
        auxiliary_gap: E[L_mu(W~) - L_S(W~)].
        population_term: E[L_mu(W) - L_mu(W~)].
        empirical_term: E[L_S(W~) - L_S(W)].
    """

    gap: Estimate
    auxiliary_gap: Estimate
    population_term: Estimate
    empirical_term: Estimate


class FlatnessTerm(NamedTuple):
    """The flatness term of a bound on SGD.

    Attributes:
        two_sided: |E[gamma(W, S) - gamma(W, S')]|, for the bound on |gap|.
        one_sided: E[gamma(W, S)], for the bound on the signed gap where noise does not lower the population risk.
    """

    two_sided: Estimate
    one_sided: Estimate


def generalization_gap(
    eval_loss_fn: LossFn, params_over_seeds: PyTree, train: PyTree, test: PyTree, *, shared_test: bool = False
) -> GeneralizationGap:
    """Expected generalization gap E[L_mu(W) - L_S(W)] (signed: test minus train) from K training seeds.

    Args:
        eval_loss_fn: evaluation loss, `loss_fn(params, batch) -> (N,)`.
        params_over_seeds: trained parameters, leaves of leading axis K >= 2.
        train: every seed's training set, leaves of shape (K, n, ...).
        test: every seed's test set, leaves of shape (K, m, ...), or one test set (m, ...) with `shared_test`.
        shared_test: whether all seeds have one test set; the standard error is then given that set.

    Returns:
        The gap with its standard error over seeds, and every seed's risks.

    Raises:
        ValueError: if K < 2, the seed axes differ, or `eval_loss_fn` does not return one value per example.

    Source: spec INFO-11. Seeds are evaluated one after another: memory of one evaluation.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import processes
        >>> z = jax.random.normal(jax.random.key(0), (2, 4000, 10))
        >>> gap = processes.generalization_gap(lambda w, z: (w - z) ** 2, z[0].mean(1), z[0], z[1])
        >>> abs(float(gap.value) - 2 / 10) < 4 * float(gap.stderr)
        True
    """

    def risks(params, train, test):
        return gradients.risk(eval_loss_fn, params, train), gradients.risk(eval_loss_fn, params, test)

    return gap_of_risks(*_over_seeds(risks, params_over_seeds, train, test, shared_test))


def gap_of_risks(train_risks: Float[Array, " K"], test_risks: Float[Array, " K"]) -> GeneralizationGap:
    """The gap of K seeds whose risks are known."""
    per_seed = test_risks - train_risks
    return GeneralizationGap(*seeds.mean(per_seed), per_seed, train_risks, test_risks)


def gap_decomposition(
    eval_loss_fn: LossFn, params_over_seeds: PyTree, auxiliary_over_seeds: PyTree, train: PyTree, test: PyTree, *, shared_test: bool = False
) -> GapDecomposition:
    """The gap of SGD through its auxiliary process: gap(W) = gap(W~) + E[L_mu(W) - L_mu(W~)] + E[L_S(W~) - L_S(W)].

    Exact to rounding for every finite sample, since one test set serves all terms.

    Args:
        eval_loss_fn: evaluation loss, `loss_fn(params, batch) -> (N,)`.
        params_over_seeds: W of every seed, leaves of leading axis K >= 2.
        auxiliary_over_seeds: W~ of every seed, like `params_over_seeds`.
        train: every seed's training set, leaves of shape (K, n, ...).
        test: every seed's test set, leaves of shape (K, m, ...), or one test set (m, ...) with `shared_test`.
        shared_test: whether all seeds have one test set.

    Returns:
        The four terms, each a mean over seeds with its standard error.

    Raises:
        ValueError: if K < 2, the seed axes differ, or `eval_loss_fn` does not return one value per example.

    Source: Wang and Mao 2022; spec INFO-20.
    """

    def risks(both, train, test):
        return [gradients.risk(eval_loss_fn, params, data) for params in both for data in (train, test)]

    pair = (params_over_seeds, auxiliary_over_seeds)
    train_clean, test_clean, train_noisy, test_noisy = _over_seeds(risks, pair, train, test, shared_test)
    return GapDecomposition(
        gap=seeds.mean(test_clean - train_clean),
        auxiliary_gap=seeds.mean(test_noisy - train_noisy),
        population_term=seeds.mean(test_clean - test_noisy),
        empirical_term=seeds.mean(train_noisy - train_clean),
    )


def flatness_term(
    eval_loss_fn: LossFn,
    params_over_seeds: PyTree,
    train: PyTree,
    test: PyTree,
    key: Key[Array, ""],
    *,
    variance: ArrayLike,
    num_noise: int,
    antithetic: bool = True,
    shared_test: bool = False,
) -> FlatnessTerm:
    """Flatness term |E[gamma(W_T, S) - gamma(W_T, S')]| from K seeds, and its one-sided form E[gamma(W_T, S)].

    gamma is `curvature.value_sensitivity`; S and S' share their noise, seeds do not. As the variance grows the two-sided
    term of a bounded loss tends to the gap itself.

    Args:
        eval_loss_fn: evaluation loss, `loss_fn(params, batch) -> (N,)`.
        params_over_seeds: W_T of every seed, leaves of leading axis K >= 2.
        train: every seed's training set S, leaves of shape (K, n, ...).
        test: S', independent of W_T: leaves of shape (K, m, ...), or one set (m, ...) with `shared_test`.
        key: key of the noise.
        variance: sum_t sigma_t^2, a scalar, at least 0.
        num_noise: noise draws per seed.
        antithetic: evaluates every draw with both signs.
        shared_test: whether all seeds have one test set.

    Returns:
        Both terms, with standard errors over seeds (which contain the noise's).

    Raises:
        ValueError: if K < 2, the seed axes differ, `test` holds no data, `variance` is negative or `num_noise` < 1.

    Source: Wang and Mao 2022, Theorem 1; spec INFO-24. Memory: one seed and one noise draw at a time.
    """
    count = leading_axis("params_over_seeds", params_over_seeds)
    std = std_of(variance)

    def sensitivities(keyed, train, test):
        noise_key, params = keyed
        return [
            curvature.value_sensitivity(eval_loss_fn, params, data, noise_key, variance=std**2, num_noise=num_noise, antithetic=antithetic).value
            for data in (train, test)
        ]

    keyed = (jax.random.split(key, count), params_over_seeds)
    on_train, on_test = _over_seeds(sensitivities, keyed, train, test, shared_test)
    difference = seeds.mean(on_train - on_test)
    return FlatnessTerm(two_sided=difference._replace(value=jnp.abs(difference.value)), one_sided=seeds.mean(on_train))


def _over_seeds(fn: Callable[..., PyTree], params: PyTree, train: PyTree, test: PyTree, shared_test: bool) -> PyTree:
    """`fn(params, train, test)` of every seed, one after another."""
    count = leading_axis("params_over_seeds", params)
    require(count >= 2, f"a standard error needs K >= 2 seeds; got K = {count}")
    for name, data in (("train", train),) if shared_test else (("train", train), ("test", test)):
        found = leading_axis(name, data)
        require(found == count, f"{name} must have one data set per seed, leading axis K = {count}; got {found}")
    leading_axis("test", test)
    params, train, test = jax.tree.map(jnp.asarray, (params, train, test))
    if shared_test:
        return jax.lax.map(lambda seed: fn(*seed, test), (params, train))
    return jax.lax.map(lambda seed: fn(*seed), (params, train, test))
