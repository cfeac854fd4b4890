"""Convolution by patches against XLA's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxgen.models import convolution_by_patches

LAYOUTS = {1: ("NHC", "HIO", "NHC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}


def _normal(shape, seed=0):
    """Standard normals in the default float, drawn without compiling anything."""
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape).astype(jnp.zeros(()).dtype))


def _operands(space, window):
    return _normal((2, *space, 3)), _normal((*window, 3, 4), seed=1)


CASES = [
    ((9,), (4,), (2,), "SAME"),
    ((9, 7), (3, 2), (2, 3), "SAME"),
    ((9, 7), (3, 3), (2, 2), "VALID"),
    ((9, 7), (1, 1), (1, 1), "VALID"),
    ((9, 7), (3, 3), (1, 2), ((2, 1), (0, 3))),
    ((9, 7), (2, 2), (1, 1), ((-1, 0), (0, 0))),
    ((5, 4, 3), (2, 2, 2), (1, 1, 1), "SAME"),
]


@pytest.mark.float64
@pytest.mark.parametrize(("space", "window", "strides", "padding"), CASES)
def test_patches_compute_the_convolution_and_its_gradients(space, window, strides, padding):
    """Tolerance: rounding of sums of at most 27 products of standard normals, and of their adjoints."""
    lhs, rhs = _operands(space, window)

    def by_patches(lhs, rhs):
        return convolution_by_patches(lhs, rhs, strides, padding)

    def native(lhs, rhs):
        return jax.lax.conv_general_dilated(lhs, rhs, strides, padding, dimension_numbers=LAYOUTS[len(space)])

    @jax.jit
    def outputs_and_gradients(lhs, rhs):
        (outputs, pull), (expected, pull_native) = (jax.vjp(f, lhs, rhs) for f in (by_patches, native))
        return (outputs, *pull(expected)), (expected, *pull_native(expected))

    for a, b in zip(*outputs_and_gradients(lhs, rhs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.any_precision
@pytest.mark.parametrize(("strides", "padding"), [(1, "SAME"), ((2, 1), "VALID"), (1, "CIRCULAR"), (2, 1), (1, ((0, 2), (1, 1)))])
def test_it_serves_the_convolution_of_flax(key, strides, padding):
    x = _normal((2, 6, 5, 3))
    native = nn.Conv(4, (3, 3), strides=strides, padding=padding)
    variables = jax.jit(native.init)(key, x)
    by_patches = nn.Conv(4, (3, 3), strides=strides, padding=padding, conv_general_dilated=convolution_by_patches)
    both = jax.jit(lambda x: (by_patches.apply(variables, x), native.apply(variables, x)))
    np.testing.assert_allclose(*both(x), rtol=1e-4, atol=1e-5)


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimension_numbers": ("NCHW", "OIHW", "NCHW")}, "dimension_numbers must be channels last"),
        ({"rhs_dilation": (2, 1)}, "neither dilations nor groups"),
        ({"lhs_dilation": (2, 1)}, "neither dilations nor groups"),
        ({"feature_group_count": 3}, "neither dilations nor groups"),
    ],
)
def test_what_it_cannot_do_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        convolution_by_patches(*_operands((9, 7), (3, 3)), (1, 1), "SAME", **options)


@pytest.mark.any_precision
def test_shapes_that_do_not_fit_are_refused():
    lhs, rhs = _operands((9, 7), (3, 3))
    with pytest.raises(ValueError, match=r"kernel of shape \(3, 3, 2, 4\) does not fit input of shape \(2, 9, 7, 3\)"):
        convolution_by_patches(lhs, rhs[:, :, :2], (1, 1), "SAME")
    with pytest.raises(ValueError, match=r"a window of shape \(3, 3\) is larger than the padded input of shape \(2, 2, 7, 3\)"):
        convolution_by_patches(lhs[:, :2], rhs, (1, 1), "VALID")
    assert convolution_by_patches(lhs, rhs, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")).shape == (2, 9, 7, 4)
    assert jnp.isfinite(convolution_by_patches(lhs[:, :2], rhs, (1, 1), "SAME")).all()
