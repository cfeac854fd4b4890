"""Risks of bounded losses, with a penalty, and on other examples than those of the training (PROB-1, GEN-1)."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxgen import gradients
from jaxgen._core import statistics
from jaxgen._core.checks import checked, floating, require
from jaxgen._core.results import Estimate
from jaxgen.bounds._inputs import Scalar, at_least, positive

LossFn = Callable[[PyTree, PyTree], Array]


def empirical_risk(loss_fn: LossFn, params: PyTree, batch: PyTree, *, loss_range: Scalar | None = None) -> Float[Array, ""]:
    r"""Mean loss of a batch, $\hat L_S(h) = \frac1n \sum_i \ell(h, z_i)$, with the loss held to the range that a bound takes it to have.

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`.
        params: parameters, any pytree.
        batch: examples, a pytree whose leaves have leading axis N.
        loss_range: largest loss R that there may be; every loss must then be in [0, R]. Default: no check, as `gradients.risk`.

    Returns:
        The empirical risk, a scalar.

    Raises:
        ValueError: if `batch` is empty, its leaves differ in leading axis, `loss_fn` does not return shape (N,), or a loss
            is outside its range.

    Source: Theory of Deep Learning, chapter 1 and section 5, equation (5.1); PROB-1, GEN-1.
    """
    if loss_range is None:
        return gradients.risk(loss_fn, params, batch)

    largest = positive("loss_range", loss_range)

    def held(params, batch):
        losses = floating("losses", loss_fn(params, batch))
        return checked(losses, ((losses >= 0) & (losses <= largest), f"losses must be in [0, {loss_range}], as loss_range says"))

    return gradients.risk(held, params, batch)


def regularized_risk(loss_fn: LossFn, penalty_fn: Callable[[PyTree], Array], lam: Scalar) -> LossFn:
    r"""The loss whose mean is the regularized risk $\hat L_\lambda(h) = \hat L(h) + \lambda R(h)$.

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`.
        penalty_fn: R, `penalty_fn(params) -> scalar`, such as `optax.tree.norm` with `squared=True`.
        lam: strength $\lambda$, a scalar of at least 0.

    Returns:
        A per-example loss `loss_fn(params, batch) -> (N,)` with $\lambda R$ added to every example's.

    Raises:
        ValueError: if `lam` is negative or no scalar; when called, if `penalty_fn` does not return a scalar.

    Source: Theory of Deep Learning, chapter 1; PROB-1.
    """
    strength = at_least("lam", lam, 0)
    require(strength.ndim == 0, f"lam must be a scalar; got shape {strength.shape}")

    def penalized(params: PyTree, batch: PyTree) -> Array:
        penalty = jnp.asarray(penalty_fn(params))
        require(penalty.ndim == 0, f"penalty_fn must return a scalar; got shape {penalty.shape}")
        return loss_fn(params, batch) + strength * penalty

    return penalized


def generalization_gap(loss_fn: LossFn, params: PyTree, train: PyTree, test: PyTree, *, loss_range: Scalar | None = None) -> Estimate:
    r"""Test minus training risk of one net, an estimate of $\Delta_S(h) = L_D(h) - \hat L_S(h)$.

    `jaxgen.processes.generalization_gap` is its mean over training seeds.

    Args:
        loss_fn: evaluation loss, `loss_fn(params, batch) -> (N,)`.
        params: parameters, any pytree.
        train: the training set, a pytree whose leaves have leading axis n.
        test: at least two examples that `params` do not depend on, likewise.
        loss_range: as in `empirical_risk`.

    Returns:
        The gap, with the standard error that the finite test set leaves; the training risk is exact.

    Raises:
        ValueError: as `empirical_risk`, or if `test` has fewer than two examples.

    Source: Theory of Deep Learning, section 5, equation (5.1); PROB-1, GEN-1.
    """
    train_risk, test_risk = (empirical_risk(loss_fn, params, data, loss_range=loss_range) for data in (train, test))
    return Estimate(test_risk - train_risk, statistics.mean(floating("losses", loss_fn(params, test))).stderr)
