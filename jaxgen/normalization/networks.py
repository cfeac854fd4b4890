"""Fully connected nets with layer normalization, and the scale-invariant net that is left when their last layer is fixed."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Key, PyTree

from jaxgen import models
from jaxgen._core.checks import floating, positive_integer, require
from jaxgen.normalization.layers import layer_norm

Activation = Callable[[Array], Array]


def layer_norm_mlp(widths: Sequence[int], *, activation: Activation = jax.nn.relu, eps: ArrayLike = 0.0) -> models.Model:
    """A net whose hidden layers are x -> relu(gamma LN(W x) + beta) and whose last is x -> W x, without other biases.

    Every hidden layer is homogeneous of degree 1 in the parameters below and at it, since normalization takes out the
    degree of W x, so the whole net is of degree 2. In all but the last gamma, beta and W it is scale invariant.

    Args:
        widths: of the hidden layers, each at least 2, and, last, the number of outputs: `(64, 10)` has one hidden layer.
        activation: positively homogeneous, or the above does not hold for more than one hidden layer.
        eps: of the normalization; invariance is exact for 0 alone.

    Returns:
        `Model` with outputs (N, widths[-1]) and parameters `{"Dense_0": {"kernel": (d, width)}, "LayerNorm_0":
        {"scale": (width,), "bias": (width,)}, ...}`. Kernels ~ N(0, 1/fan_in), scales 1, biases 0. Examples are flattened.
        With eps = 0 an example that is zero, or whose units of one layer are all zero, gives NaN.

    Raises:
        ValueError: if there is no hidden layer, a hidden width is below 2 or the last below 1; in `init` and `apply`, if x
            has no example axis.

    Source: Theory of Deep Learning, lemma 13.2.2; spec NORM-5.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import normalization
        >>> model = normalization.layer_norm_mlp((8, 3))
        >>> x = jax.random.normal(jax.random.key(0), (5, 4))
        >>> params = model.init(jax.random.key(1), x)
        >>> round(float(normalization.homogeneity_degree(lambda w: model.apply(w, x), params)), 3)
        2.0
    """
    widths = _widths(widths)
    depth = len(widths) - 1

    def init(key: Key[Array, ""], x: Array) -> PyTree:
        x = _flat(x)
        keys = jax.random.split(key, depth + 1)
        sizes = (x.shape[1], *widths)
        kernels = {f"Dense_{i}": _kernel(k, sizes[i], sizes[i + 1], x.dtype) for i, k in enumerate(keys)}
        return kernels | {f"LayerNorm_{i}": _identity(width, x.dtype) for i, width in enumerate(widths[:-1])}

    def apply(params: PyTree, x: Array) -> Array:
        x = _flat(x)
        for i in range(depth):
            norm = params[f"LayerNorm_{i}"]
            x = activation(layer_norm(x @ params[f"Dense_{i}"]["kernel"], norm["scale"], norm["bias"], eps=eps))
        return x @ params[f"Dense_{depth}"]["kernel"]

    return models.Model(init, apply)


def scale_invariant_mlp(key: Key[Array, ""], widths: Sequence[int], *, activation: Activation = jax.nn.relu, eps: ArrayLike = 0.0) -> models.Model:
    """`layer_norm_mlp` with its last gamma = 1, beta = 0 and W fixed: f(c w) = f(w) in all the parameters that it has, c > 0.

    What is fixed is part of the model, not of its parameters, so that no training touches it.

    Args:
        key: draws the last W ~ N(0, 1/fan_in).
        widths: of the hidden layers, each at least 2, and, last, the number of outputs.
        activation: positively homogeneous, or the net is not scale invariant for more than one hidden layer.
        eps: of the normalization; invariance is exact for 0 alone.

    Returns:
        `Model` with outputs (N, widths[-1]) and the parameters of `layer_norm_mlp` but for the last scale, bias and kernel.

    Raises:
        ValueError: as `layer_norm_mlp`.

    Source: Theory of Deep Learning, lemma 13.2.2; spec NORM-5.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import normalization
        >>> model = normalization.scale_invariant_mlp(jax.random.key(0), (8, 3))
        >>> x = jax.random.normal(jax.random.key(1), (5, 4))
        >>> params = model.init(jax.random.key(2), x)
        >>> bool(normalization.scale_invariance_defect(lambda w: model.apply(w, x), params, jnp.array([0.1, 30.0])) < 1e-5)
        True
    """
    widths = _widths(widths)
    whole = layer_norm_mlp(widths, activation=activation, eps=eps)
    last = len(widths) - 2
    fixed = {f"LayerNorm_{last}": _identity(widths[-2], None), f"Dense_{last + 1}": _kernel(key, widths[-2], widths[-1], None)}

    def init(key: Key[Array, ""], x: Array) -> PyTree:
        return {name: part for name, part in whole.init(key, x).items() if name not in fixed}

    def apply(params: PyTree, x: Array) -> Array:
        dtype = jnp.result_type(*jax.tree.leaves(params))
        return whole.apply(params | jax.tree.map(lambda leaf: leaf.astype(dtype), fixed), x)

    return models.Model(init, apply)


def _widths(widths: Sequence[int]) -> tuple[int, ...]:
    require(len(widths) >= 2, f"widths must hold a hidden layer and the number of outputs; got {tuple(widths)}")
    hidden = [positive_integer(f"widths[{i}]", width, at_least=2) for i, width in enumerate(widths[:-1])]
    return (*hidden, positive_integer("widths[-1]", widths[-1]))


def _kernel(key: Array, fan_in: int, fan_out: int, dtype: jnp.dtype | None) -> dict[str, Array]:
    return {"kernel": jax.random.normal(key, (fan_in, fan_out), dtype) / math.sqrt(fan_in)}


def _identity(width: int, dtype: jnp.dtype | None) -> dict[str, Array]:
    return {"scale": jnp.ones(width, dtype), "bias": jnp.zeros(width, dtype)}


def _flat(x: Array) -> Array:
    x = floating("x", x)
    require(x.ndim >= 1, "x must have a leading example axis; got a scalar")
    return x.reshape(x.shape[0], -1)
