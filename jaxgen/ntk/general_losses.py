r"""What training does to a model whose kernel stays as it is, for any loss: $\dot u = -s H \nabla_u \sum_i \ell(u_i, y_i)$.

No inverse is needed. What moves is $a$, with $\dot a = -s \nabla_u \ell$ and $u = f_0 + H a$: the test points follow by one product.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxgen import optimization
from jaxgen._core import flows
from jaxgen._core.checks import checked, floating, positive_integer, require
from jaxgen._core.scan import iterate
from jaxgen.ntk.prediction import HIGHEST, Problem, add_test, stacked

OutputLoss = Callable[[Array, Array], Array]


class GeneralPrediction(NamedTuple):
    """Outputs along training; made by `predict_flow` and `predict_descent`.

    Attributes:
        train: outputs at the training points, behind an axis of times.
        test: outputs at the test points, behind the same axis.
    """

    train: Float[Array, "T N *C"]
    test: Float[Array, "T M *C"]


def predict_flow(
    loss: OutputLoss,
    k_train: Float[ArrayLike, "N N *CC"],
    y: Shaped[ArrayLike, "N *rest"],
    k_test: Float[ArrayLike, "M N *CC"],
    f0_train: Float[ArrayLike, "N *C"],
    f0_test: Float[ArrayLike, "M *C"],
    *,
    t: Float[ArrayLike, " T"],
    loss_scale: ArrayLike = 1.0,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 100_000,
) -> GeneralPrediction:
    r"""Outputs along gradient flow on $s \sum_i \ell(u_i, y_i)$ under a kernel that stays constant, by an adaptive ODE solver.

    Args:
        loss: `loss(outputs, targets) -> (N,)`, differentiable in the outputs (N, C) or (N,), such as `models.softmax_cross_entropy`.
        k_train: kernel of the training points: shared, (N, N), or full, (N, N, C, C).
        y: targets, with leading axis N.
        k_test: kernel of test with training points, (M, N) or (M, N, C, C).
        f0_train: outputs before training, (N,) or (N, C); their shape is that of the outputs.
        f0_test: the same at the test points.
        t: finite times of at least 0, increasing, shape (T,), T >= 1.
        loss_scale: s > 0: 1 for a sum over examples, 1/N for a mean.
        rtol: relative tolerance of the solver; default 1e-9 in float64, 1e-5 in float32.
        atol: absolute tolerance of the solver, in units of the coefficients; default `rtol` times 1e-2.
        max_steps: steps of the solver, beyond which it raises.

    Returns:
        `GeneralPrediction` at the times `t`.

    Raises:
        ValueError: if shapes do not fit, the kernel is not symmetric and positive semidefinite, times are not finite, at least 0 and
            increasing, or `loss_scale` is not positive (NaN results when traced); if `loss` does not return shape (N,).
        RuntimeError: from the solver, if it needs more steps.

    Source: spec NTK-1, NTK-22. Cost: O(N^2 C) a step of the solver (Dormand and Prince's, of order 5), of which it takes at least
    about lambda_max t times the loss's curvature.
    """
    dynamics = _dynamics(loss, k_train, y, k_test, f0_train, f0_test, loss_scale)
    start = jnp.zeros_like(dynamics.problem.f0_train)
    return dynamics.outputs(flows.solve(_descending, start, dynamics, "t", t, rtol, atol, max_steps))


def predict_descent(
    loss: OutputLoss,
    k_train: Float[ArrayLike, "N N *CC"],
    y: Shaped[ArrayLike, "N *rest"],
    k_test: Float[ArrayLike, "M N *CC"],
    f0_train: Float[ArrayLike, "N *C"],
    f0_test: Float[ArrayLike, "M *C"],
    *,
    learning_rate: ArrayLike,
    num_steps: int,
    every: int | None = None,
    momentum: ArrayLike = 0.0,
    loss_scale: ArrayLike = 1.0,
) -> GeneralPrediction:
    r"""Outputs along gradient descent on $s \sum_i \ell(u_i, y_i)$ under a kernel that stays constant, by its exact map.

    $u_{k + 1} = u_k - \eta s H \nabla_u \sum_i \ell$: of a linearized model, what training it gives up to rounding.

    Args:
        loss: as in `predict_flow`.
        k_train: as in `predict_flow`.
        y: as in `predict_flow`.
        k_test: as in `predict_flow`.
        f0_train: as in `predict_flow`.
        f0_test: as in `predict_flow`.
        learning_rate: eta > 0, a scalar.
        num_steps: number of steps, at least 0.
        every: outputs are returned after 0, every, 2 every, ..., num_steps steps; it must divide `num_steps`. Default `num_steps`.
        momentum: heavy-ball momentum in [0, 1) (`optax.sgd`).
        loss_scale: as in `predict_flow`.

    Returns:
        `GeneralPrediction` with T = num_steps / every + 1.

    Raises:
        ValueError: if shapes do not fit, the kernel is not symmetric and positive semidefinite or a value is out of its range (NaN
            results when traced); if `loss` does not return shape (N,) or `every` does not divide `num_steps`.

    Source: spec NTK-7, NTK-22. Cost: O(N^2 C) a step.
    """
    dynamics = _dynamics(loss, k_train, y, k_test, f0_train, f0_test, loss_scale)
    num_steps = positive_integer("num_steps", num_steps, at_least=0)
    every = max(num_steps, 1) if every is None else positive_integer("every", every)
    require(num_steps % every == 0, f"every must divide num_steps = {num_steps}; got {every}")
    rate, momentum = floating("learning_rate", learning_rate), floating("momentum", momentum)
    rate = checked(
        rate,
        (rate > 0, f"learning_rate must be positive; got {learning_rate}"),
        ((momentum >= 0) & (momentum < 1), f"momentum must be in [0, 1); got {momentum}"),
    )
    start = jnp.zeros_like(dynamics.problem.f0_train)

    def step(state, t):
        a, velocity = state
        velocity = momentum.astype(a.dtype) * velocity + dynamics.slope(a)
        return (a - rate.astype(a.dtype) * velocity, velocity), None

    (last, _), path = iterate(step, (start, start), num_steps, record=lambda state, aux, t: state[0], every=every)
    return dynamics.outputs(jnp.concatenate([path, last[None]]))


class _Dynamics(eqx.Module):
    """The slope of the loss in the coefficients, and the outputs that these give."""

    loss: OutputLoss = eqx.field(static=True)
    problem: Problem
    y: Shaped[Array, "N *rest"]
    scale: Float[Array, ""]
    shape: tuple[int, ...] = eqx.field(static=True)

    def slope(self, a: Array) -> Array:
        """Gradient in u at u = f_0 + H a, times the scale."""
        u = self.problem.f0_train + jnp.matmul(self.problem.k_train, a, precision=HIGHEST)
        slope = jax.grad(lambda u: jnp.sum(self.loss(u, self.y)))(u.reshape(self.shape))
        return (self.scale * slope.reshape(a.shape)).astype(a.dtype)

    def outputs(self, path: Array) -> GeneralPrediction:
        """Outputs for coefficients with an axis of time before their own."""
        own = self.problem
        train = Problem(own.k_train, own.k_train, own.y, own.f0_train, own.f0_train, self.shape)
        return GeneralPrediction(add_test(train, path), add_test(own, path))


def _dynamics(loss, k_train, y, k_test, f0_train, f0_test, loss_scale) -> _Dynamics:
    f0_train, scale, y = floating("f0_train", f0_train), floating("loss_scale", loss_scale), jnp.asarray(y)
    problem = stacked(k_train, jnp.zeros_like(f0_train), k_test, f0_train, f0_test)
    kernel = optimization.positive_semidefinite(problem.k_train, name="k_train")
    problem = dataclasses.replace(problem, k_train=kernel)
    scale = checked(scale, (scale > 0, f"loss_scale must be positive; got {loss_scale}"))
    n = len(f0_train)
    require(y.ndim > 0 and len(y) == n, f"y must have {n} rows; got shape {y.shape}")
    losses = jax.eval_shape(loss, f0_train, y)
    require(losses.shape == (n,), f"loss must return one value per example, shape ({n},); got shape {losses.shape}")
    return _Dynamics(loss, problem, y, scale, f0_train.shape)


def _descending(t: Array, a: Array, dynamics: _Dynamics) -> Array:
    return -dynamics.slope(a)
