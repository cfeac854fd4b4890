"""The small nets that claims and studies train, as pairs of pure functions around flax modules."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.errors
import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, PyTree

from jaxgen._core.checks import checked, choice, floating, positive_integer, require
from jaxgen._core.convolution import convolution_by_patches

Activation = Callable[[Array], Array]

ACTIVATIONS: dict[str, Activation] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "erf": jax.scipy.special.erf,
    "sin": jnp.sin,
    "identity": lambda x: x,
    "softplus": jax.nn.softplus,
}
PARAMETRIZATIONS = ("standard", "ntk")


class Model(NamedTuple):
    """A net as two pure functions.

    Attributes:
        init: `init(key, x) -> params`, a pytree in the dtype of `x` (the default float if `x` holds integers); of `x` only
            the shape matters.
        apply: `apply(params, x) -> outputs` of shape (N, C) or (N,), for `x` with leading example axis N.
    """

    init: Callable[[PRNGKeyArray, Array], PyTree]
    apply: Callable[[PyTree, Array], Array]


def mlp(
    widths: Sequence[int],
    *,
    activation: str | Activation = "relu",
    parametrization: str = "standard",
    bias: bool | None = None,
) -> Model:
    """A fully connected net of any depth; every example is flattened first.

    Layer h maps x to W x + b in the *standard* parametrization (W ~ N(0, 1/fan_in), truncated, or N(0, 2/fan_in) where a
    ReLU follows, which keeps the scale of activations with depth; b = 0; LeCun et al. 1998, He et al. 2015) and to
    W x / sqrt(fan_in) + b in the *NTK* parametrization (all entries of W and b ~ N(0, 1); Jacot et al. 2018), with the
    activation between layers and no activation constant.

    Args:
        widths: of the hidden layers and, last, the number of outputs: `(64, 10)` has one hidden layer. `(10,)` is linear.
        activation: `"relu"`, `"tanh"`, `"gelu"` (exact), `"erf"`, `"sin"`, `"identity"`, `"softplus"` or a function.
        parametrization: `"standard"` or `"ntk"`.
        bias: whether layers have biases; default only in the standard parametrization.

    Returns:
        `Model` with outputs (N, widths[-1]) and parameters `{"Dense_0": {"kernel": (d, width), "bias": (width,)}, ...}`.

    Raises:
        ValueError: if `widths` is empty or has an entry below 1, or a name is unknown; in `apply`, if parameters and
            input do not fit.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import models
        >>> model = models.mlp((64, 10), activation="tanh")
        >>> params = model.init(jax.random.key(0), jnp.zeros((1, 8, 8)))
        >>> params["Dense_0"]["kernel"].shape, model.apply(params, jnp.zeros((5, 8, 8))).shape
        ((64, 64), (5, 10))
    """
    widths = _sizes("widths", widths)
    require(len(widths) > 0, "widths must hold at least the number of outputs; got none")
    return _model(_MLP(widths, *_layer_options(activation, parametrization, bias)))


def linear(num_outputs: int, *, parametrization: str = "standard", bias: bool | None = None) -> Model:
    """W x + b on flattened examples, the net `mlp((num_outputs,))`.

    Args:
        num_outputs: C.
        parametrization: as in `mlp`.
        bias: as in `mlp`.

    Returns:
        `Model` with outputs (N, C).

    Raises:
        ValueError: if `num_outputs` < 1 or `parametrization` is unknown.
    """
    return mlp((num_outputs,), activation="identity", parametrization=parametrization, bias=bias)


def two_layer_relu(width: int, *, signs: Float[ArrayLike, " m"] | None = None) -> Model:
    """f(x) = m^{-1/2} sum_r A_r relu(W_r . x) with fixed A_r = +-1 and trained W ~ N(0, 1) (INFO-30; Du et al. 2019).

    The output signs A are part of the model, not of its parameters, so that no training touches them.

    Args:
        width: m.
        signs: A, shape (m,); default +1, -1, +1, ...

    Returns:
        `Model` with outputs (N,) and parameters `{"W": (m, d)}`; examples are flattened.

    Raises:
        ValueError: if `width` < 1, or `signs` are not m values of +-1.
    """
    width = positive_integer("width", width)
    signs = jnp.where(jnp.arange(width) % 2 == 0, 1.0, -1.0) if signs is None else floating("signs", signs)
    require(signs.shape == (width,), f"signs must have shape ({width},); got {signs.shape}")
    return _model(_TwoLayerReLU(width), checked(signs, (jnp.abs(signs) == 1, "signs must be +1 or -1")))


def cnn(
    channels: Sequence[int],
    num_outputs: int,
    *,
    kernel_size: int = 3,
    strides: int = 1,
    pooling: str = "average",
    activation: str | Activation = "relu",
    parametrization: str = "standard",
    bias: bool | None = None,
    convolution: str = "auto",
) -> Model:
    """A small convolutional net: convolution, activation and 2 x 2 pooling for each entry of `channels`, then one dense layer.

    Args:
        channels: of the convolutions, `"SAME"` padded; may be empty.
        num_outputs: C.
        kernel_size: side of the square windows.
        strides: of every convolution.
        pooling: `"average"`, `"max"` or `"none"`; a last odd row or column is left out.
        activation: as in `mlp`.
        parametrization: as in `mlp`, with fan_in = kernel_size^2 C_in.
        bias: as in `mlp`.
        convolution: `"native"` (XLA's), `"patches"` (`convolution_by_patches`, fast inside `lax.scan` on a CPU), or
            `"auto"`: patches on a CPU and native elsewhere. The result is the same up to rounding.

    Returns:
        `Model` for images (N, H, W, C_in), or (N, H, W) with one channel, with outputs (N, C).

    Raises:
        ValueError: if a size is below 1 or a name unknown; in `init` and `apply`, if `x` are no images or become too
            small to be pooled.
    """
    channels = _sizes("channels", channels)
    num_outputs, strides = positive_integer("num_outputs", num_outputs), positive_integer("strides", strides)
    choice("pooling", pooling, ("average", "max", "none"))
    choice("convolution", convolution, ("auto", "patches", "native"))
    options = _layer_options(activation, parametrization, bias)
    return _model(_CNN(channels, num_outputs, positive_integer("kernel_size", kernel_size), strides, pooling, convolution, *options))


class _MLP(nn.Module):
    widths: tuple[int, ...]
    activation: Activation
    parametrization: str
    bias: bool
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        x = x.reshape(x.shape[0], -1)
        for i, width in enumerate(self.widths):
            x = self.activation(x) if i else x
            hidden = i + 1 < len(self.widths)
            x = _layer(nn.Dense, width, x.shape[-1], self, hidden=hidden)(x)
        return x


class _CNN(nn.Module):
    channels: tuple[int, ...]
    num_outputs: int
    kernel_size: int
    strides: int
    pooling: str
    convolution: str
    activation: Activation
    parametrization: str
    bias: bool
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        require(x.ndim in (3, 4), f"x must hold images, shape (N, H, W) or (N, H, W, C); got shape {x.shape}")
        x = x[..., None] if x.ndim == 3 else x
        patches = self.convolution == "patches" or (self.convolution == "auto" and jax.default_backend() == "cpu")
        window = (self.kernel_size, self.kernel_size)
        for width in self.channels:
            options = {"kernel_size": window, "strides": self.strides, "conv_general_dilated": convolution_by_patches if patches else None}
            x = _layer(nn.Conv, width, math.prod(window) * x.shape[-1], self, hidden=True, **options)(x)
            x = _pool(self.activation(x), self.pooling)
        x = x.reshape(x.shape[0], -1)
        return _layer(nn.Dense, self.num_outputs, x.shape[-1], self, hidden=False)(x)


class _TwoLayerReLU(nn.Module):
    width: int
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, signs):
        x = x.reshape(x.shape[0], -1)
        weights = self.param("W", nn.initializers.normal(1.0), (self.width, x.shape[-1]), self.param_dtype)
        return jax.nn.relu(x @ weights.T) @ signs.astype(weights.dtype) / math.sqrt(self.width)


def _layer(kind: Callable[..., nn.Module], width: int, fan_in: int, net: Any, *, hidden: bool, **options: Any) -> Callable[[Array], Array]:
    """A dense or convolutional layer in the parametrization of `net`; created inside it, so flax names it."""
    if net.parametrization == "standard":
        scaled = nn.initializers.variance_scaling(2.0 if hidden and net.activation is jax.nn.relu else 1.0, "fan_in", "truncated_normal")
        return kind(width, use_bias=net.bias, param_dtype=net.param_dtype, kernel_init=scaled, **options)
    normal = nn.initializers.normal(1.0)
    layer = kind(width, use_bias=net.bias, param_dtype=net.param_dtype, kernel_init=normal, bias_init=normal, **options)
    return lambda x: layer(x / math.sqrt(fan_in))


def _pool(x: Array, pooling: str) -> Array:
    if pooling == "none":
        return x
    n, height, width, channels = x.shape
    require(min(height, width) >= 2, f"images of {height} x {width} pixels are too small for 2 x 2 pooling; use fewer channels or pooling='none'")
    height, width = height // 2, width // 2
    cells = x[:, : 2 * height, : 2 * width].reshape(n, height, 2, width, 2, channels)
    return cells.max(axis=(2, 4)) if pooling == "max" else cells.mean(axis=(2, 4))


def _model(module: nn.Module, *constants: Array) -> Model:
    def init(key: PRNGKeyArray, x: Array) -> PyTree:
        x = _examples(x)
        return module.clone(param_dtype=x.dtype).init(key, x[:1], *constants)["params"]

    def apply(params: PyTree, x: Array) -> Array:
        try:
            return module.apply({"params": params}, _examples(x), *constants)  # pyright: ignore[reportReturnType]
        except flax.errors.FlaxError as error:
            raise ValueError(f"params do not fit the model or x of shape {jnp.shape(x)}: {error}") from error

    return Model(init, apply)


def _examples(x: Array) -> Array:
    x = floating("x", x)
    require(x.ndim >= 1, "x must have a leading example axis; got a scalar")
    return x


def _sizes(name: str, sizes: Sequence[int]) -> tuple[int, ...]:
    try:
        return tuple(positive_integer(f"{name}[{i}]", size) for i, size in enumerate(sizes))
    except TypeError as error:
        raise TypeError(f"{name} must be a sequence of integers; got {sizes!r}") from error


def _layer_options(activation: str | Activation, parametrization: str, bias: bool | None) -> tuple[Activation, str, bool]:
    choice("parametrization", parametrization, PARAMETRIZATIONS)
    if not callable(activation):
        choice("activation", activation, tuple(ACTIVATIONS))
        activation = ACTIVATIONS[activation]
    return activation, parametrization, parametrization == "standard" if bias is None else bias
