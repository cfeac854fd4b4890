"""Kernels of infinitely wide fully connected nets."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import choice, floating, positive_integer
from jaxgen.ntk.infinite.activations import DualActivation, dual_activation
from jaxgen.ntk.infinite.gaussians import Gaussians, add_variance, square_root
from jaxgen.ntk.infinite.inputs import Rows, correlate, examples, unit_rows, variances

TILE = 2**16
"""Entries of the kernel that go through all layers at a time, so that they stay in the cache."""


class Kernels(NamedTuple):
    """Kernels of an infinitely wide net, on the same pairs of inputs.

    Attributes:
        ntk: neural tangent kernel, all layers trained.
        nngp: covariance of the outputs at initialization, and the tangent kernel of the last layer alone.
    """

    ntk: Array
    nngp: Array


def fully_connected(
    x1: Float[ArrayLike, "n ..."],
    x2: Float[ArrayLike, "m ..."] | None = None,
    *,
    depth: int,
    activation: str | DualActivation,
    weight_variance: Float[ArrayLike, ""] = 1.0,
    bias_variance: Float[ArrayLike, ""] = 0.0,
) -> Kernels:
    r"""NTK and NNGP kernel of a fully connected net with `depth` infinitely wide hidden layers.

    $\Sigma^{(0)} = w\, x^\top x' + \beta$, $\Theta^{(0)} = \Sigma^{(0)}$, and for h = 1, ..., depth, with (u, v) Gaussian of
    covariance $\Sigma^{(h-1)}$,
    $$\Sigma^{(h)} = w\, c_\sigma E[\sigma(u) \sigma(v)] + \beta, \qquad
      \Theta^{(h)} = w\, c_\sigma E[\dot\sigma(u) \dot\sigma(v)]\, \Theta^{(h-1)} + \Sigma^{(h)},$$
    where w is `weight_variance`, $\beta$ is `bias_variance` and $c_\sigma = 1 / E[\sigma(z)^2]$ stands outside of w. Defaults
    are the net $f^{(h)} = W^{(h)} \sqrt{c_\sigma / d_{h-1}}\, \sigma(f^{(h-1)})$, $f^{(1)} = W^{(1)} x$, with standard normal weights.

    *Other conventions.* neural-tangents has no $c_\sigma$ and divides the inputs by their number d: `stax.Dense(W_std, b_std)`
    on x is this kernel on $x / \sqrt{d}$ with $W_{std}^2 = w$ in the first layer, $W_{std}^2 = c_\sigma w$ after each
    activation and $b_{std}^2 = \beta$. `models.mlp(parametrization="ntk")` has $W_{std} = 1$ in all of them: this kernel on
    $\sqrt{c_\sigma / d}\, x$ with $w = 1 / c_\sigma$ (and $\beta = 1$ with biases).

    *Accuracy.* Layers carry 1 - rho, which the inputs give without cancellation, so that nothing is lost at |rho| = 1: with
    unit inputs and ReLU, in float32, entries are within 5e-7 (depth + 1)^2 of the exact kernel for any pair, duplicates,
    antipodal points and what lies beside them included (up to a thousand features).

    *Derivatives* are finite. At coincident or antipodal inputs, where that of the degree-0 kernel diverges with opposite
    signs on the two sides, it counts as zero, the mean of both sides. A zero row has kernel 0 (without bias, where
    $\sigma(0) = 0$) and gradient zero.

    Args:
        x1: inputs, shape (n, ...); all axes but the first are features.
        x2: inputs of the same features, shape (m, ...); default `x1`, whose diagonal is then exact.
        depth: L >= 0, the number of hidden layers; 0 is the linear net.
        activation: a name or a `DualActivation`, see `dual_activation`.
        weight_variance: w >= 0.
        bias_variance: beta >= 0.

    Returns:
        `Kernels` of shape (n, m). Cost O(n m (d + L)) and memory of the two kernels: tiles of 2^16 entries go through all
        layers before the next.

    Raises:
        ValueError: if shapes do not fit, an input is empty, `depth` < 0, the activation is unknown or a variance negative.
        TypeError: if an input is not real, or `activation` neither a name nor a `DualActivation`.

    Source: Jacot, Gabriel & Hongler 2018; Arora et al. 2019; NTK-15.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import ntk
        >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0]])
        >>> kernels = ntk.infinite.fully_connected(x, depth=1, activation="relu")
        >>> [round(float(k[0, 1]), 4) for k in kernels], [round(float(k[0, 0]), 4) for k in kernels]
        ([0.3183, 0.3183], [2.0, 1.0])
    """
    first, second = examples(x1, x2)
    depth = positive_integer("depth", depth, at_least=0)
    weight, bias = variances(weight_variance, bias_variance, first.dtype)
    return _kernels(first, second, weight, bias, depth=depth, dual=dual_activation(activation))


@functools.partial(jax.jit, static_argnames=("depth", "dual"))
def _kernels(x1: Array, x2: Array | None, weight: Array, bias: Array | None, *, depth: int, dual: DualActivation) -> Kernels:
    rows = unit_rows(x1.reshape(x1.shape[0], -1))
    columns = rows if x2 is None else unit_rows(x2.reshape(x2.shape[0], -1))
    n, m = rows.norm.shape[0], columns.norm.shape[0]
    num_tiles = math.ceil(n * m / TILE)
    height = math.ceil(n / num_tiles)
    padded = -(-n // height) * height

    @jax.checkpoint
    def tile(block: tuple[Rows, Array]) -> Kernels:
        (unit, norm), index = block
        gap, cogap = correlate(unit, columns.unit, index if x2 is None else None)
        root = square_root(weight)
        pairs = Gaussians(root * norm[:, None], root * columns.norm, gap, cogap)
        return propagate(pairs if bias is None else add_variance(pairs, bias), weight, bias, depth, dual)

    if padded == height:
        return tile((rows, jnp.arange(n)))
    blocks = jax.tree.map(lambda a: jnp.pad(a, [(0, padded - n)] + [(0, 0)] * (a.ndim - 1)).reshape(-1, height, *a.shape[1:]), (rows, jnp.arange(n)))
    return jax.tree.map(lambda k: k.reshape(padded, m)[:n], lax.map(tile, blocks))


def propagate(pairs: Gaussians, weight: Array, bias: Array | None, depth: int, dual: DualActivation, ntk: Array | None = None) -> Kernels:
    """Kernels after `depth` layers that start from the covariance of `pairs` and from the tangent kernel `ntk`, by default the same."""

    def layer(carry: tuple[Gaussians, Array], _: None) -> tuple[tuple[Gaussians, Array], None]:
        pairs, ntk = carry
        pairs, slope = activate(pairs, weight, dual)
        pairs = pairs if bias is None else add_variance(pairs, bias)
        return (pairs, slope * ntk + pairs.covariance), None

    (pairs, ntk), _ = lax.scan(layer, (pairs, pairs.covariance if ntk is None else ntk), None, length=depth)
    return Kernels(ntk, pairs.covariance)


def activate(pairs: Gaussians, weight: Array, dual: DualActivation) -> tuple[Gaussians, Array]:
    """sqrt(w c_sigma) times the activation of both variables, and w c_sigma E[sigma' sigma']."""
    gap, derivative = dual.pair(pairs)
    scale = weight * dual.normalization
    std_u, std_v = (square_root(scale * dual.variance(std**2)) for std in (pairs.std_u, pairs.std_v))
    return Gaussians(std_u, std_v, gap, 2 - gap), scale * derivative


def two_layer(
    x1: Float[ArrayLike, "n ..."],
    x2: Float[ArrayLike, "m ..."] | None = None,
    *,
    activation: str | DualActivation = "relu",
    layers: str = "first",
) -> Float[Array, "n m"]:
    r"""Limit of the tangent kernel of $f(x) = \frac{1}{\sqrt m} \sum_r a_r \sigma(w_r^\top x)$, $w_r \sim N(0, I)$, $a_r = \pm 1$.

    With the first layer trained $H^*(x, x') = x^\top x'\, E_w[\dot\sigma(w^\top x) \dot\sigma(w^\top x')]$, for the ReLU
    $x^\top x' \frac{\pi - \arccos \rho}{2 \pi}$; the second layer adds $E_w[\sigma(w^\top x) \sigma(w^\top x')]$. There is no
    $c_\sigma$ here. The textbook's (9.8) leaves out the factor $x^\top x'$. For other a_r multiply the first part by E a^2.

    Args:
        x1: inputs, shape (n, ...).
        x2: inputs of the same features, shape (m, ...); default `x1`.
        activation: a name or a `DualActivation`.
        layers: what is trained, `"first"` or `"both"`.

    Returns:
        Array of shape (n, m).

    Raises:
        ValueError: as `fully_connected`, or if `layers` is unknown.

    Source: Du et al. 2019; Arora et al., Theory of Deep Learning, section 9.2; NTK-3, NTK-4.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import ntk
        >>> x = jnp.array([[1.0, 0.0], [0.6, 0.8]])
        >>> print(jnp.round(1e4 * ntk.infinite.two_layer(x)))
        [[5000. 2114.]
         [2114. 5000.]]
    """
    choice("layers", layers, ("first", "both"))
    dual = dual_activation(activation)
    kernels = fully_connected(x1, x2, depth=1, activation=dual)
    part = kernels.ntk - kernels.nngp if layers == "first" else kernels.ntk
    return part / dual.normalization


def relu_series(gram: Float[ArrayLike, "..."], num_terms: int) -> Float[Array, "..."]:
    r"""First-layer ReLU kernel of unit inputs as a power series in their Gram matrix K, elementwise powers:

    $$H^* = \frac{K}{4} + \frac{1}{2\pi} \sum_{\ell = 1}^{n} \frac{(2\ell - 3)!!}{(2\ell - 2)!!} \frac{K^{\circ 2\ell}}{2\ell - 1}.$$

    Every term is positive semidefinite. The remainder is O(rho^{2n}) inside (-1, 1) and 0.18 n^{-1/2} at |rho| = 1.

    Args:
        gram: inner products of unit vectors, any shape.
        num_terms: n, terms of the sum.

    Returns:
        Array of the shape of `gram`.

    Raises:
        ValueError: if `num_terms` < 1.

    Source: Arora et al., Theory of Deep Learning, exercise 3 of chapter 9 (its series of the arccosine is damaged); NTK-12.
    """
    gram = floating("gram", gram)
    num_terms = positive_integer("num_terms", num_terms)
    ell = jnp.arange(1, num_terms, dtype=gram.dtype)
    ratios = (2 * ell - 1) ** 2 / (2 * ell * (2 * ell + 1))
    square = gram**2

    def add(carry: tuple[Array, Array], ratio: Array) -> tuple[tuple[Array, Array], None]:
        term = carry[0] * ratio * square
        return (term, carry[1] + term), None

    (_, total), _ = lax.scan(add, (square, square), ratios)
    return gram / 4 + total / (2 * math.pi)
