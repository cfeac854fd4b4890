"""The neural tangent kernel of a finite net."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, PyTree

from jaxgen._core.checks import floating, leading_axis, require
from jaxgen._core.sharding import place
from jaxgen._core.subtrees import Subtree
from jaxgen.ntk.blocks import block_size, filled, in_blocks, in_tiles, mirrored
from jaxgen.ntk.features import ApplyFn, Features, features, output_shape
from jaxgen.ntk.plans import Plan, Problem, checked_problem, planned
from jaxgen.structure import Layers

PIECES, SMALL = 6, 512
"""Pieces that the rows of a symmetric kernel are cut into, and a number of rows of the matrix up to which they are not."""
AXIS = "examples"
"""Name of the axis of a mesh that rows are spread over."""
SPLIT, WHOLE = PartitionSpec(AXIS), PartitionSpec()
KEPT_PROGRAMS = 16
"""Compiled programs for meshes that stay for the next kernel of the same net."""


def empirical(
    apply_fn: ApplyFn,
    params: PyTree,
    x1: PyTree,
    x2: PyTree | None = None,
    *,
    mode: str = "full",
    strategy: str = "auto",
    chunk_size: int | None = None,
    mesh: Mesh | None = None,
    precision: str | None = None,
    subtree: Subtree | None = None,
) -> Float[Array, "N M ..."]:
    """Empirical neural tangent kernel Theta[i, j, c, d] = <grad_w f_c(w, x_i), grad_w f_d(w, x'_j)>, of any model.

    Args:
        apply_fn: `apply_fn(params, x) -> (N, C)` or `(N,)`, not coupling examples.
        params: parameters w, a pytree of P floating numbers.
        x1: examples of the rows, a pytree whose leaves have leading axis N.
        x2: examples of the columns, with leading axis M. Default: `x1`, of whose symmetric kernel one half is computed.
        mode: `"full"`: (N, M, C, C); `"trace"`: its mean over outputs, (1/C) sum_c Theta[:, :, c, c], (N, M); `"diagonal"`:
            Theta[:, :, c, c], (N, M, C); `"pseudo"`: the kernel of (1/sqrt(C)) sum_c f_c, (N, M).
        strategy: `"structured"`: products of activations and cotangents, layer by layer; `"jacobian"`: products of the
            gradients themselves; `"vector_product"`: one backward and one forward derivative for every column, no gradient
            held; `"auto"`: what `plan` says.
        chunk_size: examples whose gradients are held at a time, which bounds memory. Default: what `plan` says.
        mesh: devices of one process or of several, with an axis named `"examples"` that rows are spread over, and those of the
            result too where the number of devices divides N. Of a symmetric kernel each device computes its share of one half.
        precision: None: that of the parameters, products in full; `"f32"`, `"f64"`: everything in it; `"bf16_f32"`: factors
            rounded to bfloat16, sums in float32; `"bf16x3"`: factors as two bfloat16 numbers, three products.
        subtree: part of the parameters: path prefix, several, or a predicate. Kernels of parts add up to the whole one.

    Returns:
        The kernel, in the dtype of the parameters.

    Raises:
        ValueError: if the outputs are not of rank 1 or 2, `x1` and `x2` differ in features, a batch is empty, examples are
            coupled, `mesh` has no axis `"examples"`, or with `mesh` or `chunk_size` the place of an example in its batch matters,
            `"f64"` is asked with x64 off, `subtree` is not there, or an option is unknown.
        TypeError: if a leaf of `params` is not real.

    Source: Jacot, Gabriel & Hongler 2018; spec NTK-1, NTK-18, NTK-20. Cost: for dense layers of I inputs and O outputs
    N M (I + C O) multiplications (trace) or N M (I + C^2 O), half of it if symmetric, and C backward passes; memory
    N sum (I + C O). For everything else N M C P or N M C^2 P.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import ntk
        >>> x = jnp.array([[1.0, 2.0], [0.0, 1.0]])
        >>> ntk.empirical(lambda w, x: x @ w, jnp.ones((2, 3)), x, mode="trace").tolist()
        [[5.0, 2.0], [2.0, 1.0]]
    """
    if mesh is None:
        return _empirical(apply_fn, params, x1, x2, mode, strategy, chunk_size, precision, hashable(subtree))
    return _over_mesh(mesh, apply_fn, params, x1, x2, (mode, strategy, chunk_size, precision, hashable(subtree)))


def hashable(subtree: Subtree | None) -> Any:
    """A choice of parameters that can be a static argument."""
    return subtree if subtree is None or callable(subtree) or isinstance(subtree, str) else tuple(subtree)


@partial(jax.jit, static_argnums=(0, 4, 5, 6, 7, 8))
def _empirical(apply_fn, params, x1, x2, mode, strategy, chunk_size, precision, subtree):
    problem = checked_problem(apply_fn, params, x1, x2, mode, strategy, precision, subtree)
    return kernel(apply_fn, problem, planned(apply_fn, problem, mode, strategy, chunk_size), precision)


def kernel(apply_fn: ApplyFn, problem: Problem, plan: Plan, precision: str | None) -> Array:
    """The kernel of a checked problem as its plan says."""
    if plan.strategy == "vector_product":
        return _by_products(apply_fn, problem, plan)

    def of(x: PyTree, others: int) -> Features:
        own = partial(features, apply_fn, problem.params, mode=plan.mode, leaves=problem.leaves, others=others, alone=problem.alone)
        if plan.strategy != "structured":
            return own(x, layers=None)
        same = leading_axis("x", x) == leading_axis("x", problem.x1)
        layers = problem.layers if same and problem.layers is not None else Layers(apply_fn, problem.params, x)
        size = block_size(layers, (*output_shape(apply_fn, problem.params, x), 1)[1], plan.mode) if problem.alone else layers.count
        if size == layers.count:
            return own(x, layers=layers)
        small = Layers(apply_fn, problem.params, jax.tree.map(lambda leaf: leaf[:size], x), by_patches=True)
        return in_blocks(partial(own, layers=small), x, size)

    if plan.chunk_size is not None:
        return _in_chunks(of, problem, plan, precision)
    others = leading_axis("x", problem.x1 if problem.x2 is None else problem.x2)
    left = of(problem.x1, others)
    return _assembled(left, None if problem.x2 is None else of(problem.x2, others), plan.mode, precision)


def _assembled(left: Features, right: Features | None, mode: str, precision: str | None) -> Array:
    """The kernel of examples with others, or with themselves."""
    if mode == "full" and jax.default_backend() == "cpu":
        return in_tiles(left, right, precision)
    return _symmetric(left, mode, precision) if right is None else left.kernel(right, mode, precision)


def _symmetric(own: Features, mode: str, precision: str | None) -> Array:
    """The kernel of examples with themselves, in blocks on and above the diagonal, and their mirror images."""
    if own.count * (own.num_outputs if mode == "full" else 1) <= SMALL:
        return own.kernel(own, mode, precision)
    width = -(-own.count // PIECES)
    pieces = [own.rows(start, min(width, own.count - start)) for start in range(0, own.count, width)]
    blocks = {(i, j): pieces[i].kernel(pieces[j], mode, precision) for i in range(len(pieces)) for j in range(i, len(pieces))}
    blocks |= {(j, i): mirrored(block) for (i, j), block in blocks.items() if i < j}
    return jnp.concatenate([jnp.concatenate([blocks[i, j] for j in range(len(pieces))], axis=1) for i in range(len(pieces))])


def _in_chunks(of: Any, problem: Problem, plan: Plan, precision: str | None) -> Array:
    """The kernel with the features of two chunks of examples at a time."""
    x2 = problem.x1 if problem.x2 is None else problem.x2
    width = plan.chunk_size or max(plan.shape[:2])

    def chunk(x: PyTree, start: Array, size: int) -> Features:
        return of(jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, size), x), width)

    def block(left: Features, start: Array, size: int) -> Array:
        return _assembled(left, chunk(x2, start, size), plan.mode, precision)

    dtype = jnp.result_type(*(jax.tree.leaves(problem.params)[leaf] for leaf in problem.leaves))
    whole = jax.ShapeDtypeStruct(plan.shape, dtype)
    return filled(whole, width, lambda start, size: chunk(problem.x1, start, size), block, symmetric=problem.x2 is None)


def _by_products(apply_fn: ApplyFn, problem: Problem, plan: Plan) -> Array:
    """Columns J (J'^T e), one for every example and output of the columns."""
    leaves, structure = jax.tree.flatten(problem.params)
    x2 = problem.x1 if problem.x2 is None else problem.x2

    def with_chosen(chosen: list[Array], x: PyTree) -> Array:
        whole = list(leaves)
        for leaf, value in zip(problem.leaves, chosen, strict=True):
            whole[leaf] = value
        outputs = apply_fn(jax.tree.unflatten(structure, whole), x)
        return outputs.reshape(len(outputs), -1)

    chosen = [leaves[leaf] for leaf in problem.leaves]
    forward = jax.linearize(lambda chosen: with_chosen(chosen, problem.x1), chosen)[1]
    every, pull = jax.vjp(lambda chosen: with_chosen(chosen, x2), chosen)
    num_outputs = every.shape[1]

    def column(j: Array, direction: Array) -> Array:
        if not problem.alone:
            return forward(pull(jnp.zeros_like(every).at[j].set(direction.astype(every.dtype)))[0])
        own = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, j, 1), x2)
        return forward(jax.vjp(lambda chosen: with_chosen(chosen, own), chosen)[1](direction[None].astype(every.dtype))[0])

    directions = jnp.full((1, num_outputs), num_outputs**-0.5) if plan.mode == "pseudo" else jnp.eye(num_outputs)

    def of_example(j: Array) -> Array:
        found = jax.lax.map(lambda direction: column(j, direction), directions)  # (D, N, C)
        if plan.mode == "full":
            return jnp.moveaxis(found, 0, -1)
        if plan.mode == "pseudo":
            return found[0].sum(axis=1) * num_outputs**-0.5
        diagonal = jnp.einsum("cnc->nc", found)
        return diagonal.mean(axis=1) if plan.mode == "trace" else diagonal

    return jnp.moveaxis(jax.lax.map(of_example, jnp.arange(plan.shape[1])), 0, 1)


def _over_mesh(mesh: Mesh, apply_fn: ApplyFn, params: PyTree, x1: PyTree, x2: PyTree | None, options: tuple[Any, ...]) -> Array:
    """Rows spread over the devices; only inputs and finished blocks travel."""
    require(AXIS in mesh.axis_names, f"mesh must have an axis named {AXIS!r}; it has {', '.join(map(repr, mesh.axis_names)) or 'none'}")
    count, devices = leading_axis("x1", x1), mesh.shape[AXIS]
    padding = -count % devices
    rows = jax.tree.map(lambda leaf: jnp.concatenate([jnp.asarray(leaf), jnp.repeat(jnp.asarray(leaf)[-1:], padding, axis=0)]), x1)
    params = jax.tree.map(lambda leaf: floating("params", leaf), params)
    params, columns = place((params, rows if x2 is None else jax.tree.map(jnp.asarray, x2)), NamedSharding(mesh, WHOLE))
    inputs = (columns,) if x2 is None else (place(rows, NamedSharding(mesh, SPLIT)), columns)
    found = _program(mesh, apply_fn, options, len(inputs))(params, *inputs)
    return (found[:count, :count] if x2 is None else found[:count]) if padding else found


@lru_cache(maxsize=KEPT_PROGRAMS)
def _program(mesh: Mesh, apply_fn: ApplyFn, options: tuple[Any, ...], num_inputs: int) -> Callable[..., Array]:
    """The kernel of spread rows, compiled once for as many calls as there are."""
    mode, strategy, _, precision, subtree = options
    devices = mesh.shape[AXIS]

    def of_rows(params: PyTree, rows: PyTree, *columns: PyTree) -> Array:
        problem = checked_problem(apply_fn, params, rows, columns[0] if columns else None, mode, strategy, precision, subtree)
        require(
            problem.alone or devices == 1,
            "mesh cannot be used: in apply_fn the place of an example in its batch matters (noise of the batch's shape, for instance), or may matter",
        )

        def of(x1: PyTree, x2: PyTree | None = None) -> Array:
            return _empirical(apply_fn, params, x1, x2, *options)

        return of(rows, columns[0]) if columns else _circle(of, rows, devices)

    specs = (WHOLE, WHOLE) if num_inputs == 1 else (WHOLE, SPLIT, WHOLE)
    return jax.jit(jax.shard_map(of_rows, mesh=mesh, in_specs=specs, out_specs=SPLIT, check_vma=False))


def _circle(of: Callable[..., Array], x: PyTree, devices: int) -> Array:
    """The rows of one device of a symmetric kernel: of the blocks with later panels, round the circle, it computes half, and receives the rest.

    Args:
        of: kernel of a panel, or of two.
        x: examples of all panels, one for each device.
        devices: their number.
    """
    here, size, later = jax.lax.axis_index(AXIS), leading_axis("x1", x) // devices, (devices - 1) // 2
    x = jax.tree.map(lambda leaf: jnp.roll(leaf, -here * size, axis=0), x)

    def panels(start: int, stop: int) -> PyTree:
        return jax.tree.map(lambda leaf: leaf[start * size : stop * size], x)

    own = panels(0, 1)
    blocks = [of(own), *(jnp.split(of(own, panels(1, later + 1)), later, axis=1) if later else [])]
    earlier = [
        jax.lax.ppermute(mirrored(block), AXIS, [(i, (i + step) % devices) for i in range(devices)]) for step, block in enumerate(blocks[1:], start=1)
    ]
    if devices % 2 == 0:
        blocks.append(_opposite(of, own, panels(devices // 2, devices // 2 + 1), devices))
    return jnp.roll(jnp.concatenate([*blocks, *reversed(earlier)], axis=1), here * size, axis=1)


def _opposite(of: Callable[..., Array], own: PyTree, other: PyTree, devices: int) -> Array:
    """The block of two devices opposite in the circle, of whose rows each computes half."""
    first, size = jax.lax.axis_index(AXIS) < devices // 2, leading_axis("x1", own)
    half = -(-size // 2)

    def chosen(here: PyTree, there: PyTree) -> PyTree:
        return jax.tree.map(partial(jnp.where, first), here, there)

    rows = chosen(jax.tree.map(lambda leaf: leaf[:half], own), jax.tree.map(lambda leaf: leaf[size - half :], other))
    mine = of(rows, chosen(other, own))
    others = jax.lax.ppermute(mine, AXIS, [(i, (i + devices // 2) % devices) for i in range(devices)])
    whole = jnp.concatenate([chosen(mine, others), chosen(others, mine)[2 * half - size :]])
    return chosen(whole, mirrored(whole))
