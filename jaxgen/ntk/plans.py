"""What a kernel will cost, and how it is best computed, before anything runs."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jaxgen._core.checks import choice, floating, leading_axis, positive_integer, require
from jaxgen._core.subtrees import Subtree, split
from jaxgen.ntk.features import MODES, PRECISIONS, ApplyFn, Features, Part, features, output_shape
from jaxgen.structure import Coupled, Layers, Product, Unknown

STRATEGIES = ("auto", "structured", "jacobian", "vector_product")
MEMORY = 2**30
"""Bytes that `auto` lets features take, by default."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a kernel is computed, with its cost.

    Attributes:
        mode: which kernel.
        strategy: `"structured"`, `"jacobian"` or `"vector_product"`.
        chunk_size: examples whose features are held at a time; None for all of them.
        flops: floating-point operations, multiplications and additions counted apart.
        feature_bytes: of what is held of examples beside the kernel.
        output_bytes: of the kernel.
        shape: of the kernel.
        reason: why this strategy.
    """

    mode: str
    strategy: str
    chunk_size: int | None
    flops: float
    feature_bytes: int
    output_bytes: int
    shape: tuple[int, ...]
    reason: str

    @property
    def bytes(self) -> int:
        """Of the kernel and what is held beside it, with the copies of both in another order that products need."""
        return (3 if self.mode == "diagonal" else 2) * self.feature_bytes + 2 * self.output_bytes

    def __str__(self) -> str:
        held = "all examples" if self.chunk_size is None else f"{self.chunk_size} examples at a time"
        return (
            f"{self.mode} kernel {' x '.join(map(str, self.shape))}, {self.strategy} ({self.reason}): {self.flops / 1e9:.3g} GFLOP, "
            f"{self.output_bytes / 2**20:.3g} MiB and {self.feature_bytes / 2**20:.3g} MiB of features, {held}"
        )


@dataclasses.dataclass(frozen=True)
class Problem:
    """Checked arguments of a kernel.

    Attributes:
        params: parameters, floating.
        x1: examples of the rows.
        x2: of the columns, None where they are those of the rows.
        leaves: numbers of the leaves with respect to which gradients are taken.
        layers: the net's structure, None where it is not understood.
        note: what is not understood of it.
    """

    params: PyTree
    x1: PyTree
    x2: PyTree
    leaves: list[int]
    layers: Layers | None
    note: str

    @property
    def alone(self) -> bool:
        """Whether an example alone in its batch is known to be what it is among others."""
        return self.layers is not None and not self.layers.analysis.positional


def plan(
    apply_fn: ApplyFn,
    params: PyTree,
    x1: PyTree,
    x2: PyTree | None = None,
    *,
    mode: str = "full",
    strategy: str = "auto",
    chunk_size: int | None = None,
    precision: str | None = None,
    subtree: Subtree | None = None,
    memory: int = MEMORY,
) -> Plan:
    """Predicts what `empirical` will do with the same arguments: strategy, operations, memory.

    Args:
        apply_fn: `apply_fn(params, x) -> (N, C)` or `(N,)`.
        params: parameters, or their shapes (`jax.ShapeDtypeStruct`).
        x1: examples of the rows, or their shapes.
        x2: examples of the columns, or their shapes. Default: `x1`.
        mode: as in `empirical`.
        strategy: as in `empirical`.
        chunk_size: as in `empirical`; None lets the plan choose.
        precision: as in `empirical`.
        subtree: as in `empirical`.
        memory: bytes that features may take before they are computed in chunks.

    Returns:
        The plan; `print` shows it in a line. Nothing is computed.

    Raises:
        ValueError: as `empirical`.
        TypeError: as `empirical`.

    Source: spec NTK-18, NTK-19.
    """
    found: list[Plan] = []

    def of_shapes(params: PyTree, x1: PyTree, x2: PyTree) -> None:
        problem = checked_problem(apply_fn, params, x1, x2, mode, strategy, precision, subtree)
        found.append(planned(apply_fn, problem, mode, strategy, chunk_size, memory))

    jax.eval_shape(of_shapes, params, x1, x2)
    return found[0]


def checked_problem(
    apply_fn: ApplyFn, params: PyTree, x1: PyTree, x2: PyTree | None, mode: str, strategy: str, precision: str | None, subtree: Subtree | None
) -> Problem:
    """The arguments of a kernel as arrays, or an error that names what is wrong with them."""
    choice("mode", mode, MODES)
    choice("strategy", strategy, STRATEGIES)
    require(precision in PRECISIONS, f"precision must be one of {', '.join(map(repr, PRECISIONS))}; got {precision!r}")
    shapes = [x1] if x2 is None else [x1, x2]
    for name, x in zip(("x1", "x2"), shapes, strict=False):
        require(leading_axis(name, x) > 0, f"{name} must hold at least one example; got 0")
    if x2 is not None:
        mine, others = (jax.tree.map(lambda leaf: jnp.shape(leaf)[1:], x) for x in shapes)
        require(mine == others, f"x1 and x2 must have the same features; got {mine} and {others}")
    params = jax.tree.map(lambda leaf: floating("params", leaf), params)
    x1, x2 = jax.tree.map(jnp.asarray, (x1, x2))
    if precision in ("f32", "f64"):
        require(
            precision != "f64" or jax.config.read("jax_enable_x64"),
            "precision='f64' needs jax_enable_x64, which is off: without it arrays are float32",
        )
        dtype = jnp.float64 if precision == "f64" else jnp.float32
        params, x1, x2 = jax.tree.map(lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, (params, x1, x2))
    output_shape(apply_fn, params, x1)
    selected, _ = split(params, subtree)
    leaves = [number for number, leaf in enumerate(jax.tree.leaves(selected, is_leaf=lambda leaf: leaf is None)) if leaf is not None]
    layers, note = None, ""
    try:
        layers = Layers(apply_fn, params, x1)
    except Coupled as error:
        raise ValueError(
            f"apply_fn couples examples at {error}: its outputs for one depend on the others, so that there is no kernel of two examples "
            "(freeze batch statistics, switch dropout off)"
        ) from None
    except Unknown as error:
        note = str(error)
        require(strategy != "structured", f"strategy='structured' has no rule for {note}; strategy='auto' differentiates every example by itself")
    return Problem(params, x1, x2, leaves, layers, note)


def planned(apply_fn: ApplyFn, problem: Problem, mode: str, strategy: str, chunk_size: int | None, memory: int = MEMORY) -> Plan:
    """The plan of a checked problem."""
    rows, columns = leading_axis("x1", problem.x1), leading_axis("x2", problem.x1 if problem.x2 is None else problem.x2)
    num_outputs = (*output_shape(apply_fn, problem.params, problem.x1), 1)[1]
    outputs = {"full": (num_outputs, num_outputs), "diagonal": (num_outputs,)}.get(mode, ())
    leaves = jax.tree.leaves(problem.params)
    item = max(leaves[number].dtype.itemsize for number in problem.leaves)
    shape = (rows, columns, *outputs)
    size = item
    for length in shape:
        size *= length
    if chunk_size is not None:
        positive_integer("chunk_size", chunk_size)
        require(
            problem.alone or chunk_size >= max(rows, columns),
            "chunk_size cannot be used: in apply_fn the place of an example in its batch matters (noise of the batch's shape, for instance), "
            "or may matter",
        )

    def candidate(name: str, reason: str) -> Plan:
        if name == "vector_product":
            one_pass = 2.0 * sum(leaf.size for leaf in leaves)
            flops = columns * num_outputs * (2 * one_pass + 2 * rows * one_pass)
            return Plan(mode, name, chunk_size, flops, item * sum(leaf.size for leaf in leaves), size, shape, reason)
        found = _of_features(apply_fn, problem, mode, columns, factored=name == "structured")
        features_bytes, products, passes = _cost(found, mode)
        each = features_bytes / rows
        width = chunk_size
        if width is None and problem.alone and each * (rows + (0 if problem.x2 is None else columns)) > memory:
            width = max(1, int(memory / (2 * each)))
        width = None if width is None or width >= max(rows, columns) else width
        half = 0.5 if problem.x2 is None else 1.0
        held = each * (rows + (0 if problem.x2 is None else columns) if width is None else 2 * width)
        repeats = 1 if width is None else half * (-(-rows // width))
        return Plan(mode, name, width, half * rows * columns * products + repeats * columns * passes, int(held), size, shape, reason)

    if strategy != "auto":
        return candidate(strategy, "as asked")
    if problem.layers is None:
        best = candidate("jacobian", f"no rule for {problem.note}")
    else:
        best = candidate("structured", "the net is layered")
    if best.chunk_size is not None and best.feature_bytes > 2 * memory:
        return candidate("vector_product", "two examples' gradients exceed the memory")
    return best


def _of_features(apply_fn: ApplyFn, problem: Problem, mode: str, others: int, *, factored: bool) -> list[Part]:
    """The parts of the rows' features, with shapes in place of arrays."""
    layers = problem.layers if factored else None

    def found(params: PyTree, x: PyTree) -> Features:
        return features(apply_fn, params, x, mode=mode, leaves=problem.leaves, others=others, layers=layers, alone=problem.alone)

    return list(jax.eval_shape(found, problem.params, problem.x1).parts.values())


def _cost(parts: list[Part], mode: str) -> tuple[float, float, float]:
    """Bytes of all features; operations of the products for two examples, and of the passes for one."""
    held = products = passes = 0.0
    for part in parts:
        fields = part.shared | part.columns
        held += sum(array.size * array.dtype.itemsize for array in fields.values())
        if part.weights is not None:
            num_outputs = part.weights.shape[1]
            into, out = part.shared["a"].shape[-1], part.weights.shape[0] if "slopes" in part.shared else 0
            products += 2 * into + num_outputs * (num_outputs + 1) * (out + (num_outputs**2 if out else 0))
            passes += 2 * num_outputs * into * part.weights.shape[0]
            continue
        outputs = max((array.shape[1] for array in part.columns.values()), default=1)
        pairs = outputs**2 if mode == "full" else outputs
        each = {name: array.size // (array.shape[0] * array.shape[1] if name in part.columns else array.shape[0]) for name, array in fields.items()}
        positions = fields["g"].shape[-2] if part.kind is Product else 1
        products += sum(2 * positions * size * (pairs if name in part.columns else 1) for name, size in each.items() if name != "index")
        passes += 2 * outputs * each["a"] * each["g"] / positions if part.kind is Product else 4 * outputs * sum(each.values())
    return held, products, passes
