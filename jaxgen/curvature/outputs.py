"""Losses as functions of the outputs, and the linearized model between parameters and outputs."""

from collections.abc import Callable

import jax
from jaxtyping import Array, PyTree

from jaxgen import models

ApplyFn = Callable[[PyTree, Array], Array]
OutputLoss = Callable[[Array, Array], Array]


def output_loss(loss: str | OutputLoss) -> Callable[[Array, tuple[Array, Array]], Array]:
    """`loss` as a `loss_fn(outputs, (x, y)) -> (N,)` whose parameters are the outputs."""
    return models.loss_fn(lambda outputs, x: outputs, loss)


def curvature_in_outputs(loss: str | OutputLoss, outputs: Array, x: Array, y: Array) -> Callable[[Array], Array]:
    """u -> H u for the Hessian H of the mean loss in the outputs."""
    losses = output_loss(loss)
    return jax.linearize(jax.grad(lambda o: losses(o, (x, y)).mean()), outputs)[1]


def linearized(fn: Callable[[PyTree], Array], params: PyTree) -> tuple[Array, Callable[[PyTree], Array], Callable[[Array], PyTree]]:
    """The value of `fn`, and its derivative J as v -> J v and as u -> J^T u."""
    value, push = jax.linearize(fn, params)
    transpose = jax.linear_transpose(push, params)
    return value, push, lambda cotangent: transpose(cotangent)[0]
