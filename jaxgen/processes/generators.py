"""The generator of an Ito equation, and the moments of one step: of the equation, and of SGD."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Float, Key, PyTree

from jaxgen._core.checks import checked, choice, floating, positive_integer, require
from jaxgen.processes.oracles import GradientOracle
from jaxgen.processes.stochastic_equations import KINDS, Diffusion, Drift

FlatFn = Callable[[Array, Array], Array]


class OneStepMoments(NamedTuple):
    """Moments of the displacement of one step, in the order of `jax.flatten_util.ravel_pytree`.

    Attributes:
        first: E D.
        second: E D D^T.
    """

    first: Float[Array, " d"]
    second: Float[Array, "d d"]


def ito_generator(test_function: Callable[[PyTree], Array], drift: Drift, diffusion: Diffusion, *, noise: str = "scalar") -> Callable[..., Array]:
    """The generator of dX = b dt + s dW on a test function, L h = <grad h, b> + 1/2 Tr[s s^T Hess h].

    By Ito's lemma d/dt E h(X_t) = E L h(X_t). Derivatives are taken forwards, one second derivative along every column of
    s; neither gradient nor Hessian of h is formed.

    Args:
        test_function: h, `h(x)` an array of any shape, twice differentiable.
        drift: b, `drift(x, t)` of the structure of x.
        diffusion: s, as in `euler_maruyama`, of any sign; a matrix may have any number of columns here.
        noise: what `diffusion` returns, as in `euler_maruyama`. With `"apply"` the trace is estimated without bias by the
            second derivative along one draw.

    Returns:
        `generator(x, t=0.0)`, of the shape of h; with `"apply"` `generator(x, t, key)`, to be averaged over keys.

    Raises:
        ValueError: if `noise` is unknown; when called, if drift or diffusion have not the shapes of x.

    Source: Arora et al., Theory of Deep Learning, Definition 12.3.7, which prints s^T s for s s^T; spec SDE-15. Cost: one
    derivative along the drift and d second derivatives along columns of s, mapped together; one with `"apply"`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import processes
        >>> generator = processes.ito_generator(lambda x: jnp.sum(x**2), lambda x, t: -x, lambda x, t: 2.0)
        >>> float(generator(jnp.ones(3)))
        6.0
    """
    choice("noise", noise, KINDS)

    def generator(x: PyTree, t: ArrayLike = 0.0, key: Key[Array, ""] | None = None) -> Array:
        require((key is not None) == (noise == "apply"), f"a key must be given for noise='apply' and for no other; noise is {noise!r}")
        start, unravel, equation = _flat(drift, diffusion, noise, x, key)
        return _generate(lambda flat, _: jnp.asarray(test_function(unravel(flat))), equation)(start, jnp.asarray(t, start.dtype))

    return generator


def one_step_moments(
    drift: Drift, diffusion: Diffusion, x: PyTree, step: ArrayLike, *, t: ArrayLike = 0.0, noise: str = "scalar", order: int = 2
) -> OneStepMoments:
    """Moments of D = X_{t + step} - x for dX = b dt + s dW from X_t = x, up to O(step^{order + 1}).

    E h(X_{t + step}) = sum_{k <= order} step^k / k! (d/dt + L)^k h (x, t), with the generator L.

    Args:
        drift: b, `drift(x, t)` of the structure of x, smooth.
        diffusion: s, as in `euler_maruyama`, smooth; not of the kind `"apply"`.
        x: the start, a pytree of d floating numbers.
        step: length of the step, a scalar of at least 0.
        t: the start's time.
        noise: what `diffusion` returns: `"scalar"`, `"diagonal"` or `"matrix"`.
        order: number of terms, at least 1; order 2 tells E D and E D D^T from those of SGD.

    Returns:
        E D, shape (d,), and E D D^T, shape (d, d).

    Raises:
        ValueError: if `noise` is unknown or `"apply"`, `order` < 1, `step` is no scalar or negative (NaN results when traced),
            or drift or diffusion have not the shapes of x.

    Source: Milstein 1986; spec SDE-15. Cost: each order multiplies that of compiling and running by about 3 d.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import processes
        >>> moments = processes.one_step_moments(lambda x, t: -2 * x, lambda x, t: 1.0, jnp.ones(1), 0.1)
        >>> round(moments.first.item(), 3), round(moments.second.item(), 3)
        (-0.18, 0.12)
    """
    choice("noise", noise, [kind for kind in KINDS if kind != "apply"])
    start, _, equation = _flat(drift, diffusion, noise, x, None)
    step = floating("step", step).astype(start.dtype)
    require(step.ndim == 0, f"step must be a scalar; got shape {step.shape}")
    step = checked(step, (step >= 0, f"step must be at least 0; got {step}"))

    def moments(flat: Array, _: Array) -> OneStepMoments:
        return OneStepMoments(flat - start, jnp.outer(flat - start, flat - start))

    term, factor, total = moments, jnp.ones_like(step), moments(start, step)
    for k in range(1, positive_integer("order", order) + 1):
        term, factor = _generate(term, equation), factor * step / k
        total = jax.tree.map(lambda sum, new, f=factor: sum + f * new, total, term(start, jnp.asarray(t, start.dtype)))
    return total


def oracle_step_moments(oracle: GradientOracle, params: PyTree, learning_rate: ArrayLike) -> OneStepMoments:
    """Moments of one SGD step D = -eta g with a noisy gradient oracle, E D = -eta grad f, E D D^T = eta^2 (grad f grad f^T + sigma^2 Sigma).

    Args:
        oracle: from `minibatch_oracle` or `gaussian_oracle`.
        params: where the step is taken, a pytree of d floating numbers; d^2 numbers must fit into memory.
        learning_rate: eta > 0, a scalar.

    Returns:
        Exact moments, shapes (d,) and (d, d).

    Raises:
        ValueError: if `learning_rate` is not a positive scalar (NaN results when traced).

    Source: Arora et al., Theory of Deep Learning, section 12.3.2; spec SDE-15.

    Example:
        >>> import jax.numpy as jnp, lineax as lx
        >>> from jaxgen import processes
        >>> oracle = processes.gaussian_oracle(lambda x: x, lambda x: lx.DiagonalLinearOperator(jnp.ones(1)), 3.0)
        >>> processes.oracle_step_moments(oracle, jnp.ones(1), 0.5).second.tolist()
        [[2.5]]
    """
    mean = ravel_pytree(oracle.mean(params))[0]
    rate, scale = floating("learning_rate", learning_rate).astype(mean.dtype), oracle.noise_scale.astype(mean.dtype)
    require(rate.ndim == 0, f"learning_rate must be a scalar; got shape {rate.shape}")
    rate = checked(rate, (rate > 0, f"learning_rate must be positive; got {rate}"))
    covariance = oracle.covariance(params).as_matrix()
    return OneStepMoments(-rate * mean, rate**2 * (jnp.outer(mean, mean) + scale**2 * covariance))


class _Equation(NamedTuple):
    """Coefficients on flat vectors: the drift, and the columns of s (or one draw) as rows."""

    drift: FlatFn
    columns: FlatFn


def _flat(
    drift: Drift, diffusion: Diffusion, noise: str, x: PyTree, key: Key[Array, ""] | None
) -> tuple[Array, Callable[[Array], PyTree], _Equation]:
    x = jax.tree.map(lambda leaf: floating("x", leaf), x)
    start, unravel = ravel_pytree(x)
    size, shapes = start.size, jax.tree.map(jnp.shape, x)

    def flat_drift(flat, t):
        b = drift(unravel(flat), t)
        found = jax.tree.map(jnp.shape, b)
        require(found == shapes, f"drift must return the structure and shapes of x, {shapes}; got {found}")
        return ravel_pytree(b)[0].astype(start.dtype)

    def columns(flat, t):
        args = () if key is None else (key,)
        s = diffusion(unravel(flat), t, *args)
        if noise == "matrix":
            require(jnp.ndim(s) == 2 and len(s) == size, f"diffusion must return a matrix of {size} rows; got shape {jnp.shape(s)}")
            return jnp.asarray(s, start.dtype).T
        found, expected = jax.tree.map(jnp.shape, s), () if noise == "scalar" else shapes
        require(found == expected, f"diffusion must return {expected} for noise={noise!r}; got {found}")
        values = ravel_pytree(s)[0].astype(start.dtype)
        return values[None] if noise == "apply" else values * jnp.eye(size, dtype=start.dtype)

    return start, unravel, _Equation(flat_drift, columns)


def _generate(h: Callable[[Array, Array], PyTree], equation: _Equation) -> Callable[[Array, Array], PyTree]:
    """(d/dt + L) h, for h of a flat vector and of time, to any pytree of arrays."""

    def generated(x, t):
        first = jax.jvp(h, (x, t), (equation.drift(x, t), jnp.ones_like(t)))[1]

        def second(v):
            return jax.jvp(lambda x: jax.jvp(lambda x: h(x, t), (x,), (v,))[1], (x,), (v,))[1]

        curved = jax.vmap(second)(equation.columns(x, t))
        return jax.tree.map(lambda a, b: a + b.sum(axis=0) / 2, first, curved)

    return generated
