"""What complexity measures are made of, each computed once and only where a measure asks for it."""

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Key, PyTree

from jaxgen import gradients, structure
from jaxgen._core.checks import floating, leading_axis, require
from jaxgen.bounds.margins import margin_quantiles, margins
from jaxgen.bounds.measures.perturbations import EPSILON, perturbation_sigma, worst_case_alpha
from jaxgen.bounds.norms import fisher_rao_norm, layer_norms, path_norm
from jaxgen.bounds.norms.paths import without_paths

ApplyFn = Callable[[PyTree, PyTree], Array]
OutputLoss = Callable[[Array, Array], Array]

MARGIN_QUANTILE = 0.1


class Quantities:
    """A net at given parameters, and its training examples.

    Args:
        apply_fn: `apply_fn(params, x) -> (N, C)` or (N,).
        params: parameters.
        init_params: parameters before training.
        x: inputs.
        y: labels.
        loss: of outputs and labels.
        key: key of perturbations, if any.
        budgets: of perturbations: `num_draws`, `num_steps`, `num_bisections`, `target`.
        conv_norm: as in `layer_norms`.
    """

    def __init__(
        self,
        apply_fn: ApplyFn,
        params: PyTree,
        init_params: PyTree,
        x: Array,
        y: Array,
        loss: OutputLoss,
        key: Key[Array, ""] | None,
        budgets: dict[str, Any],
        conv_norm: str,
    ):
        same = jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, init_params)
        require(same, "init_params must have the tree and shapes of params; they differ")
        self.params, self.init_params = (jax.tree.map(lambda leaf: floating("params", leaf), tree) for tree in (params, init_params))
        self.x, self.y, self.n = jnp.asarray(x), jnp.asarray(y), leading_axis("x and y", (x, y))
        self.key, self.budgets, self.conv_norm = key, budgets, conv_norm
        self.loss = loss

        def apply(params: PyTree, x: PyTree) -> Array:
            outputs = apply_fn(params, x)
            return outputs[:, 0] if outputs.ndim == 2 and outputs.shape[1] == 1 else outputs

        self.apply_fn = apply
        self.weights, self.init_weights = ravel_pytree(self.params)[0], ravel_pytree(self.init_params)[0]

    def loss_fn(self, params: PyTree, batch: PyTree) -> Array:
        """One loss an example, shape (N,)."""
        return self.loss(self.apply_fn(params, batch[0]), batch[1])

    def error(self, params: PyTree) -> Array:
        """Zero-one risk; a tie is an error."""
        return jnp.mean(margins(self.apply_fn(params, self.x), self.y) <= 0, dtype=self.weights.dtype)

    @cached_property
    def batch(self) -> tuple[Array, Array]:
        """Inputs and labels."""
        return self.x, self.y

    @cached_property
    def layers(self) -> structure.Layers:
        """The layers of the traced program."""
        return structure.understood(self.apply_fn, self.params, self.x[:1], "apply_fn")

    @cached_property
    def without_layers(self) -> str:
        """Why the net is no product of its layers; empty where it is."""
        scales = [site for site in self.layers.sites if site.kind == "direct" and site.node.primitive in ("mul", "div")]
        return f"a parameter scales values by {scales[0].node}, as normalizations do" if scales else ""

    @cached_property
    def without_paths(self) -> str:
        """Why there is no path norm; empty where there is one."""
        return without_paths(self.layers)

    @cached_property
    def outputs(self) -> Array:
        """Outputs on the training examples, shape (N, C) or (N,)."""
        return self.apply_fn(self.params, self.x)

    @cached_property
    def logits(self) -> Array:
        """Outputs as of two classes at least, the first of which has logit 0 where there is one output."""
        return self.outputs if self.outputs.ndim == 2 else jnp.stack([jnp.zeros_like(self.outputs), self.outputs], axis=1)

    @cached_property
    def margins(self) -> Array:
        """Logit of the label less the largest other one, shape (N,)."""
        return margins(self.outputs, self.y)

    @cached_property
    def margin(self) -> Array:
        """The tenth percentile of signed margins, NaN where it is not positive, since measures divide by it."""
        margin = margin_quantiles(self.margins, MARGIN_QUANTILE)
        return jnp.where(margin > 0, margin, jnp.nan)

    @cached_property
    def input_margin(self) -> Array:
        """The tenth percentile of first-order distances from the decision boundary, NaN where it is not positive."""
        _, pull = jax.vjp(lambda x: margins(self.apply_fn(self.params, x), self.y), self.x)
        slopes = pull(jnp.ones_like(self.margins))[0].reshape(self.n, -1)
        margin = margin_quantiles(self.margins / jnp.linalg.norm(slopes, axis=1), MARGIN_QUANTILE)
        return jnp.where(margin > 0, margin, jnp.nan)

    @cached_property
    def norms(self) -> dict[str, Array]:
        """Every norm of `layer_norms`, one value a layer."""
        return layer_norms(self.apply_fn, self.params, self.x[:1], self.init_params, self.key, conv_norm=self.conv_norm)

    @property
    def depth(self) -> int:
        """Number of layers with a matrix of weights."""
        return len(self.norms["spectral"])

    def log_product(self, name: str) -> Array:
        """ln of the product of squared norms."""
        return 2 * jnp.sum(jnp.log(self.norms[name]))

    @cached_property
    def log_margin(self) -> Array:
        """ln of `margin`."""
        return jnp.log(self.margin)

    @cached_property
    def largest_input(self) -> Array:
        """The largest Euclidean norm of an input."""
        return jnp.linalg.norm(self.x.reshape(self.n, -1), axis=1).max()

    @cached_property
    def data_norm(self) -> Array:
        """The Frobenius norm of all inputs."""
        return jnp.linalg.norm(self.x)

    @cached_property
    def path_norm(self) -> Array:
        """The root of the sum over paths of squared products of weights."""
        return path_norm(self.apply_fn, self.params, self.x[:1])

    @cached_property
    def l1_path_norm(self) -> Array:
        """The sum over paths of absolute products of weights."""
        return path_norm(self.apply_fn, self.params, self.x[:1], p=1)

    @cached_property
    def fisher_rao(self) -> Array:
        """The root mean square over examples of the inner product of weights and gradient."""
        return fisher_rao_norm(self.loss_fn, self.params, self.batch)

    @cached_property
    def gradient_square(self) -> Array:
        """The squared norm of the gradient of the mean loss."""
        gradient = jax.grad(lambda params: self.loss_fn(params, self.batch).mean())(self.params)
        return jnp.square(ravel_pytree(gradient)[0]).sum()

    @cached_property
    def gradient_noise(self) -> Array:
        """The mean squared distance of an example's gradient from the mean one."""
        return gradients.dispersion(self.loss_fn, self.params, self.batch)

    def size(self, *, from_start: bool) -> Array:
        """|w|^2, or |w - w0|^2."""
        return jnp.sum(jnp.square(self.displacement(from_start=from_start)))

    def displacement(self, *, from_start: bool) -> Array:
        """The weights, flat, or how far they went from the start."""
        return self.weights - self.init_weights if from_start else self.weights

    def scale(self, *, worst_case: bool, magnitude_aware: bool) -> Array:
        """The largest perturbation that the net bears, of that kind."""
        if worst_case:
            return self.alpha_of_magnitudes if magnitude_aware else self.alpha
        return self.sigma_of_magnitudes if magnitude_aware else self.sigma

    @cached_property
    def sigma(self) -> Array:
        """Standard deviation of the Gaussian noise on weights that adds `target` to the error."""
        return self._sigma(magnitude_aware=False)

    @cached_property
    def sigma_of_magnitudes(self) -> Array:
        """The same in multiples of every weight's size."""
        return self._sigma(magnitude_aware=True)

    @cached_property
    def alpha(self) -> Array:
        """Largest change of a weight, the worst of which adds `target` to the error."""
        return self._alpha(magnitude_aware=False)

    @cached_property
    def alpha_of_magnitudes(self) -> Array:
        """The same in multiples of every weight's size."""
        return self._alpha(magnitude_aware=True)

    def _sigma(self, *, magnitude_aware: bool) -> Array:
        return perturbation_sigma(self._key(), self.error, self.params, magnitude_aware=magnitude_aware, **self._budgets("num_draws")).value

    def _alpha(self, *, magnitude_aware: bool) -> Array:
        def mean_loss(params: PyTree) -> Array:
            return self.loss_fn(params, self.batch).mean()

        key = jax.random.fold_in(self._key(), 1)
        options = {"magnitude_aware": magnitude_aware, **self._budgets("num_steps")}
        return worst_case_alpha(key, mean_loss, self.error, self.params, **options).value

    def _key(self) -> Key[Array, ""]:
        if self.key is None:
            raise ValueError("perturbations need a key")
        return self.key

    def _budgets(self, own: str) -> dict[str, Any]:
        return {name: self.budgets[name] for name in ("target", "num_bisections", own)}


def pac_bayes(quantities: Quantities, *, from_start: bool, worst_case: bool, magnitude_aware: bool) -> Array:
    r"""The divergence of a Gaussian of the scale that the net bears from one about the start or zero, with conventional constants."""
    scale = quantities.scale(worst_case=worst_case, magnitude_aware=magnitude_aware)
    size, count = quantities.size(from_start=from_start), quantities.weights.size
    remainder = jnp.log(quantities.n / scale) + 10
    if not magnitude_aware:
        return size / (4 * scale**2) * (math.log(2 * count) if worst_case else 1) + remainder
    spread = 4 * math.log(2 * count) if worst_case else 1
    moved = quantities.displacement(from_start=from_start)
    above = EPSILON**2 + (scale**2 + spread) * size / count
    return jnp.sum(jnp.log(above / (EPSILON**2 + scale**2 * jnp.square(moved)))) / 4 + remainder
