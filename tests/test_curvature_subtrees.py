"""Parts of the parameters: how they are chosen, and the blocks of operators on them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxgen import curvature, models
from jaxgen._core.subtrees import combine, differentiable, paths, split

TREE = {"layer_0": {"bias": 1.0, "kernel": 2.0}, "layer_00": {"kernel": 3.0}, "heads": [4.0, {"kernel": 5.0}]}


@pytest.fixture
def problem(key):
    model = models.mlp((3, 2), activation="tanh")
    x = jax.random.normal(key, (5, 4))
    params = jax.jit(model.init)(key, x)
    return model, jax.tree.map(lambda leaf: leaf + 0.1, params), x, jnp.arange(5) % 2


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("subtree", "chosen"),
    [
        (None, {1.0, 2.0, 3.0, 4.0, 5.0}),
        ("layer_0", {1.0, 2.0}),
        ("layer_0/kernel", {2.0}),
        (("layer_0/bias", "heads/1"), {1.0, 5.0}),
        (["heads"], {4.0, 5.0}),
        (lambda path: path.endswith("kernel"), {2.0, 3.0, 5.0}),
    ],
)
def test_a_path_means_all_below_it(subtree, chosen):
    selected, rest = split(TREE, subtree)
    assert set(jax.tree.leaves(selected)) == chosen
    assert set(jax.tree.leaves(rest)) == {1.0, 2.0, 3.0, 4.0, 5.0} - chosen
    assert combine(selected, rest) == TREE


@pytest.mark.any_precision
def test_paths_follow_the_leaves():
    assert paths(TREE) == ["heads/0", "heads/1/kernel", "layer_0/bias", "layer_0/kernel", "layer_00/kernel"]
    assert paths(jnp.ones(2)) == [""]


@pytest.mark.any_precision
def test_an_unknown_path_is_named_with_the_nearest_and_those_that_exist():
    with pytest.raises(ValueError, match=r"subtree 'layer_1' is not in the parameters \(did you mean 'layer_0'\?\); the paths are 'heads/0', "):
        split(TREE, "layer_1")
    with pytest.raises(ValueError, match=r"subtree 'layer_0/kernle' .*did you mean 'layer_0/kernel'"):
        split(TREE, ("layer_0", "layer_0/kernle"))
    with pytest.raises(ValueError, match=r"subtree 'layer_' is not in the parameters"):
        split(TREE, "layer_")
    with pytest.raises(ValueError, match=r"the predicate is true of no path; the paths are 'heads/0'"):
        split(TREE, lambda path: False)
    with pytest.raises(ValueError, match="at least one path; got an empty sequence"):
        split(TREE, ())
    with pytest.raises(ValueError, match=r"'layers/29' and 10 more$"):
        split({"layers": [0.0] * 40}, "weights")
    with pytest.raises(TypeError, match="subtree must be a path, a sequence of paths or a predicate on paths; got"):
        split(TREE, (1,))


@pytest.mark.any_precision
def test_only_floating_finite_parameters_are_differentiable():
    with pytest.raises(TypeError, match="params must be of a floating dtype; got dtype int32; at 'steps'"):
        differentiable({"steps": jnp.arange(2), "w": jnp.ones(2)})
    with pytest.raises(TypeError, match="params must be real; got dtype complex64; at 'w/0'"):
        differentiable({"w": [1j]})
    with pytest.raises(ValueError, match="params must be finite; found NaN or infinity; at 'w'"):
        differentiable({"w": jnp.array([1.0, jnp.nan])})
    with pytest.raises(ValueError, match="params must have at least one leaf"):
        differentiable({})
    selected, rest = differentiable({"steps": jnp.arange(2), "w": jnp.ones(2)}, "w")
    assert selected["steps"] is None
    assert rest["steps"].dtype == jnp.int32
    poisoned = jax.jit(lambda w: differentiable({"w": w})[0]["w"])(jnp.array([1.0, jnp.inf]))
    assert jnp.isnan(poisoned).all()


@pytest.mark.slow
@pytest.mark.float64
def test_operators_on_a_part_are_blocks_of_the_whole(problem, rtol):
    model, params, x, y = problem
    subtree = "Dense_0/bias", "Dense_1"
    loss_fn = models.loss_fn(model.apply, "cross_entropy")
    selected, _ = split(params, subtree)
    numbered, _ = split(jax.tree.unflatten(jax.tree.structure(params), _numbers(params)), subtree)
    rows = ravel_pytree(numbered)[0].astype(int)

    def matrices(params, subtree):
        made = (
            curvature.hessian(loss_fn, params, (x, y), subtree=subtree),
            curvature.gauss_newton(model.apply, "cross_entropy", params, x, y, subtree=subtree),
            curvature.fisher(model.apply, "cross_entropy", params, x, subtree=subtree),
            curvature.fisher(model.apply, "cross_entropy", params, x, y, kind="empirical", subtree=subtree),
        )
        return [operator.as_matrix() for operator in made], made[0].mv(split(params, subtree)[0])

    parts, product = jax.jit(lambda params: matrices(params, subtree))(params)
    wholes, _ = jax.jit(lambda params: matrices(params, None))(params)
    for part, whole in zip(parts, wholes, strict=True):
        np.testing.assert_allclose(part, whole[np.ix_(rows, rows)], rtol=10 * rtol, atol=10 * rtol)
    np.testing.assert_allclose(ravel_pytree(product)[0], parts[0] @ ravel_pytree(selected)[0], rtol=10 * rtol, atol=10 * rtol)


@pytest.mark.any_precision
def test_functionals_see_the_part_alone(key):
    """Diagonal Hessian of x (2 a^2 + b^2) / 2 with mean x = 3: blocks 6 I and 3 I."""

    def loss_fn(params, x):
        return x * (params["a"] @ params["a"] + 0.5 * params["b"] @ params["b"])

    operator = curvature.hessian(loss_fn, {"a": jnp.ones(2), "b": jnp.ones(3)}, jnp.array([2.0, 4.0]), subtree="a")
    assert float(curvature.trace(operator, key, num_matvecs=2).value) == 12.0
    estimate = curvature.diagonal(operator, key, num_matvecs=2)
    assert estimate.value["b"] is None
    assert estimate.value["a"].tolist() == [6.0, 6.0]
    found = curvature.eigenvalues(operator, key, k=2)
    np.testing.assert_allclose(found.values, 6.0, rtol=1e-6)
    assert found.vectors["b"] is None
    with pytest.raises(ValueError, match="vector must have the structure of params"):
        operator.mv({"a": jnp.ones(2), "b": jnp.ones(3)})


@pytest.mark.any_precision
def test_noise_on_a_part_leaves_the_rest_alone(key):
    """INFO-24 for a quadratic: half the variance times the trace of the block, exactly so under antithetic noise in mean."""

    def loss_fn(params, x):
        return x * (params["a"] ** 2 + 100 * params["b"] ** 2)

    arguments = loss_fn, {"a": 1.0, "b": 2.0}, jnp.ones(2), key
    rise = curvature.value_sensitivity(*arguments, variance=0.25, num_noise=4000, subtree="a", chunk_size=4000)
    assert abs(float(rise.value) - 0.25) < 4 * float(rise.stderr) < 0.05
    with pytest.raises(ValueError, match="subtree 'c' is not in the parameters"):
        curvature.value_sensitivity(*arguments, variance=0.25, num_noise=2, subtree="c")


def _numbers(params):
    flat, unravel = ravel_pytree(params)
    return jax.tree.leaves(unravel(jnp.arange(len(flat), dtype=flat.dtype)))
