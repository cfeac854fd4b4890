"""Per-example gradients of a loss as a list of factors, leaf by leaf, whatever way each leaf goes."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxgen._core.checks import choice, floating, leading_axis, require
from jaxgen.structure import examples
from jaxgen.structure.axes import Coupled, Unknown
from jaxgen.structure.capture import Layers, Pass
from jaxgen.structure.explanation import Explanation, Way
from jaxgen.structure.terms import Blocks, Product, Rows, Term

LossFn = Callable[[PyTree, PyTree], Array]
METHODS = ("auto", "structured", "vmap")


@dataclasses.dataclass(frozen=True)
class Factors:
    """Gradients of the N losses of a batch with respect to the parameters.

    Attributes:
        terms: mutually orthogonal parts of the gradients, by leaf and number.
        alone: gradients of the leaves that are differentiated by themselves, by leaf.
        passed: the evaluation that the terms are of, with its cotangents; None where there is none.
        structure: that of the parameters.
    """

    terms: dict[tuple[int, int], Term]
    alone: dict[int, Float[Array, "N ..."]]
    passed: tuple[Pass, dict[int, Array]] | None
    leaves: list[Array]
    structure: Any
    count: int

    def squared_norms(self) -> Float[Array, " N"]:
        """|g_i|^2 of every example."""
        return sum((term.squared_norms() for term in self.terms.values()), start=jnp.zeros(self.count, self._dtype()))

    def gram(self, other: "Factors") -> Float[Array, "N M"]:
        """Inner products <g_i, g_j> with the gradients of other examples of the same loss."""
        start = jnp.zeros((self.count, other.count), self._dtype())
        return sum((term.gram(other.terms[part]) for part, term in self.terms.items()), start=start)  # type: ignore[arg-type]

    def moments(self) -> tuple[list[Float[Array, " P"]], Float[Array, ""]]:
        """The mean gradient, in parts, and the mean squared distance from it."""
        found = [term.moments() for term in self.terms.values()]
        return [mean for mean, _ in found], sum((spread for _, spread in found), start=jnp.zeros((), self._dtype()))

    def per_example(self) -> PyTree:
        """The gradients themselves, every leaf with a leading axis N."""
        found: dict[int, Array] = dict(self.alone)
        if self.passed is not None:
            evaluation, cotangents = self.passed
            found |= evaluation.per_example(cotangents, [i for i in range(len(self.leaves)) if i not in found])
        zeros = (jnp.zeros((self.count, *leaf.shape), leaf.dtype) for leaf in self.leaves)
        return jax.tree.unflatten(self.structure, [found.get(i, zero) for i, zero in enumerate(zeros)])

    def _dtype(self) -> Any:
        return jnp.result_type(*self.leaves) if self.leaves else jnp.result_type(float)


def factorize(loss_fn: LossFn, params: PyTree, batch: PyTree, *, method: str = "auto") -> Factors:
    """Gradients of every example's loss, factored where the loss is layered.

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`, not coupling examples.
        params: parameters, a pytree of floating leaves (integers become the default float).
        batch: examples, a pytree whose leaves have leading axis N.
        method: `"auto"`; `"structured"`, which refuses a loss whose structure is not understood; `"vmap"`, which uses none.

    Raises:
        ValueError: if examples are coupled, `batch` is empty or its leaves differ in leading axis, `loss_fn` does not
            return one value per example, or `method` is unknown.
        TypeError: if a leaf of `params` is not real.
    """
    params, batch, layers, _ = _understood(loss_fn, params, batch, method)
    leaves, structure = jax.tree.flatten(params)
    count = leading_axis("batch", batch)
    ways = [leaf.way for leaf in layers.leaves] if layers is not None and method != "vmap" else ["per example"] * len(leaves)
    alone = [leaf for leaf, way in enumerate(ways) if way == "per example"]
    singly = layers is not None and not layers.analysis.positional and examples.is_one_alone(loss_fn, params, batch)
    own = dict(zip(alone, examples.rows(loss_fn, params, batch, alone, alone=singly), strict=True)) if alone else {}
    terms: dict[tuple[int, int], Term] = {(leaf, 0): Blocks(rows.reshape(count, -1)) for leaf, rows in own.items()}
    passed = None
    if len(alone) < len(leaves) and layers is not None:
        evaluation = layers.forward(params, batch)
        cotangents = evaluation.pull([jnp.ones_like(output) for output in evaluation.outputs])
        passed = evaluation, cotangents
        terms |= evaluation.terms(cotangents, [leaf for leaf in range(len(leaves)) if leaf not in own])
    return Factors(terms, own, passed, leaves, structure, count)


def is_positional(loss_fn: LossFn, params: PyTree, batch: PyTree) -> bool:
    """Whether an example by itself may not be what it is in the batch: not known to be independent of its place there.

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`.
        params: parameters.
        batch: examples.

    Raises:
        ValueError: as `factorize`.
        TypeError: as `factorize`.
    """
    params, batch, layers, _ = _understood(loss_fn, params, batch, "auto")
    return layers is None or layers.analysis.positional


def explain(loss_fn: LossFn, params: PyTree, batch: PyTree) -> Explanation:
    """Which way every parameter leaf's per-example gradients come about, why, and what is held for it.

    Args:
        loss_fn: `loss_fn(params, batch) -> (N,)`.
        params: parameters.
        batch: examples.

    Returns:
        The explanation; `print` shows it as a table.

    Raises:
        ValueError: as `factorize`.
        TypeError: as `factorize`.
    """
    params, batch, layers, note = _understood(loss_fn, params, batch, "auto")
    count, sizes = leading_axis("batch", batch), [leaf.size for leaf in jax.tree.leaves(params)]
    if layers is None:
        paths = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in jax.tree.leaves_with_path(params)]
        ways = tuple(Way(path, "per example", "not analysed", count * size) for path, size in zip(paths, sizes, strict=True))
        return Explanation(count, ways, True, f"no rule for {note}: every loss is differentiated by itself, N passes over the batch")
    shapes = jax.eval_shape(lambda params, batch: factorize(loss_fn, params, batch).terms, params, batch)
    ways = []
    for number, (leaf, size) in enumerate(zip(layers.leaves, sizes, strict=True)):
        terms = [term for (owner, _), term in shapes.items() if owner == number]
        held = sum(_held(term) for term in terms) if leaf.way == "factors" else (0 if leaf.way == "unused" else count * size)
        ways.append(Way(leaf.path, leaf.way, leaf.why, held))
    return Explanation(count, tuple(ways), layers.analysis.positional, "")


def _held(term: Term) -> int:
    if isinstance(term, Product):
        return term.a.size + term.g.size
    return term.g.size if isinstance(term, Rows) else term.rows.size


def _understood(loss_fn: LossFn, params: PyTree, batch: PyTree, method: str) -> tuple[PyTree, PyTree, Layers | None, str]:
    """Arguments as arrays, with the layers of the loss, or without them and the reason."""
    choice("method", method, METHODS)
    params = jax.tree.map(lambda leaf: floating("params", leaf), params)
    batch = jax.tree.map(jnp.asarray, batch)
    count = leading_axis("batch", batch)
    require(count > 0, "batch must hold at least one example; got 0")

    def check(result: PyTree) -> None:
        found = jax.tree.map(np.shape, result)
        require(found == (count,), f"loss_fn must return one loss per example, shape ({count},); got shape {found}")

    try:
        return params, batch, Layers(loss_fn, params, batch, check), ""
    except Coupled as error:
        raise ValueError(
            f"loss_fn couples examples at {error}: one example's loss depends on the others, so it has no gradient of its own "
            "(freeze batch statistics; compute each loss from its example alone)"
        ) from None
    except Unknown as error:
        if method == "structured":
            raise ValueError(f"method='structured' has no rule for {error}; method='auto' differentiates every loss by itself") from None
        return params, batch, None, str(error)
