"""Loop bodies compute what they were made of, once; `vmap` of an operator is a loop on a CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import curvature, models
from jaxgen.curvature.in_turn import in_turn
from jaxgen.curvature.loops import loop_body


def _convolution(layout, options):
    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, dimension_numbers=layout, **options)

    return convolve


def test_what_does_not_depend_on_the_argument_is_outside(rtol):
    w, v = jnp.linspace(0.1, 1, 12).reshape(3, 4), jnp.ones(4)

    def fn(tree):
        return {"out": jnp.sin(w) @ tree["v"] + jnp.exp(w).sum(), "same": jnp.cos(w)}

    def run(v):
        body = loop_body(fn, {"v": jax.ShapeDtypeStruct(v.shape, v.dtype)})
        return body({"v": v}), jax.make_jaxpr(body)({"v": v})

    found, program = run(v)
    assert not {"sin", "exp", "cos"} & {str(equation.primitive) for equation in program.eqns}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol), found, fn({"v": v}))
    np.testing.assert_allclose(jax.jit(lambda v: run(v)[0]["out"])(v), found["out"], rtol=rtol)


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("layout", "shape", "kernel_shape", "options"),
    [
        (("NHWC", "HWIO", "NHWC"), (4, 7, 6, 2), (3, 2, 2, 5), {"window_strides": (2, 1), "padding": "SAME"}),
        (("NCHW", "OIHW", "NCHW"), (4, 2, 7, 6), (5, 2, 3, 2), {"window_strides": (1, 1), "padding": "VALID", "rhs_dilation": (2, 1)}),
        (("NHWC", "HWIO", "NHWC"), (4, 7, 6, 4), (3, 2, 2, 6), {"window_strides": (1, 2), "padding": "SAME", "feature_group_count": 2}),
        (("NWC", "WIO", "NWC"), (4, 9, 2), (3, 2, 5), {"window_strides": (1,), "padding": ((2, 0),), "lhs_dilation": (2,)}),
    ],
    ids=["strides", "channels first", "groups", "transposed"],
)
def test_convolutions_and_their_gradients_are_the_same_in_a_loop(key, layout, shape, kernel_shape, options, rtol):
    convolve = _convolution(layout, options)
    x, kernel = jax.random.normal(key, shape), jax.random.normal(key, kernel_shape)

    def fn(pair):
        x, kernel = pair
        value, pull = jax.vjp(convolve, x, kernel)
        return value, pull(jnp.cos(value))

    expected = jax.jit(fn)((x, kernel))
    found = jax.jit(loop_body(fn, (x, kernel)))((x, kernel))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=100 * rtol, atol=100 * rtol)


@pytest.mark.any_precision
def test_convolutions_in_loops_are_channels_last(key):
    """The layout that XLA's fast routine takes inside loops, for every convolution of an HVP of a convolutional net."""
    model = models.cnn((2, 3), 2, convolution="native")
    x = jax.random.normal(key, (4, 8, 8, 1))
    loss_fn = models.loss_fn(model.apply, "cross_entropy")
    operator = curvature.hessian(loss_fn, jax.jit(model.init)(key, x), (x, jnp.arange(4) % 2))

    def program(operator):
        return curvature.trace(operator, key, num_matvecs=3, per_leaf=True)

    text = jax.jit(program).lower(operator).as_text()
    numbers = {line.split("dim_numbers = ")[1].split(", window")[0] for line in text.splitlines() if "stablehlo.convolution" in line}
    in_loop = text[text.index("stablehlo.while") :]
    assert "stablehlo.convolution" in in_loop
    inside = {line.split("dim_numbers = ")[1].split(", window")[0] for line in in_loop.splitlines() if "stablehlo.convolution" in line}
    assert inside == {"[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"}
    assert numbers >= inside


def _pair(w, v):
    return {"product": jnp.tanh(w) @ v, "sum": v.sum()}


@pytest.mark.any_precision
def test_in_turn_is_the_function_under_every_transformation(rtol):
    fn = in_turn(_pair)
    w, v = jnp.linspace(-1, 1, 24).reshape(2, 3, 4), jnp.arange(8.0).reshape(2, 4)
    cases = [
        (fn, _pair, (w[0], v[0])),
        (jax.vmap(fn), jax.vmap(_pair), (w, v)),
        (jax.vmap(fn, in_axes=(0, None)), jax.vmap(_pair, in_axes=(0, None)), (w, v[0])),
        (jax.vmap(fn, in_axes=(None, 0)), jax.vmap(_pair, in_axes=(None, 0)), (w[0], v)),
        (jax.vmap(jax.vmap(fn, in_axes=(None, 0)), in_axes=(0, None)), jax.vmap(jax.vmap(_pair, in_axes=(None, 0)), in_axes=(0, None)), (w, v)),
        (jax.vmap(jax.vmap(fn, in_axes=(0, None)), in_axes=(None, 0)), jax.vmap(jax.vmap(_pair, in_axes=(0, None)), in_axes=(None, 0)), (w, v)),
    ]
    for made, expected, arguments in cases:
        found = jax.jit(made)(*arguments)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol), found, jax.jit(expected)(*arguments))


@pytest.mark.float64
def test_in_turn_is_differentiable_both_ways(rtol):
    fn = in_turn(_pair)
    w, v = jnp.linspace(-1, 1, 24).reshape(2, 3, 4), jnp.arange(8.0).reshape(2, 4)

    def total(fn):
        return lambda w: jnp.sum(jax.vmap(fn)(w, v)["product"] ** 2)

    found, expected = (
        jax.jit(lambda w, f=f: (jax.grad(total(f))(w), jax.jvp(total(f), (w,), (w,))[1], jax.hessian(total(f))(w)))(w) for f in (fn, _pair)
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=100 * rtol, atol=100 * rtol)


@pytest.mark.any_precision
def test_in_turn_may_close_over_what_is_mapped(rtol):
    w, v = jnp.linspace(-1, 1, 24).reshape(2, 3, 4), jnp.arange(8.0).reshape(2, 4)
    found = jax.jit(jax.vmap(lambda w, v: in_turn(lambda u: jnp.tanh(w) @ u)(v)))(w, v)
    np.testing.assert_allclose(found, jax.vmap(_pair)(w, v)["product"], rtol=10 * rtol)


@pytest.mark.any_precision
def test_a_mapped_operator_is_a_loop_and_mapped_probes_are_not(key):
    def loss_fn(w, x):
        return jnp.tanh(x @ w) ** 2

    w, x = jax.random.normal(key, (3, 4)), jax.random.normal(key, (5, 4))

    def over_operators(w):
        return jax.vmap(lambda w: curvature.hessian(loss_fn, w, x).mv(jnp.ones(4)))(w)

    def over_vectors(w):
        return jax.vmap(curvature.hessian(loss_fn, w[0], x).mv)(w)

    assert "while" in jax.jit(over_operators).lower(w).as_text()
    assert "while" not in jax.jit(over_vectors).lower(w).as_text()
    np.testing.assert_allclose(over_operators(w)[1], curvature.hessian(loss_fn, w[1], x).mv(jnp.ones(4)), rtol=1e-4, atol=1e-5)
