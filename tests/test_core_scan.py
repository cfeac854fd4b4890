"""The scan driver."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen._core.scan import iterate


def _step(state, t):
    return state * 0.5 + t, {"t": t}


def _record(state, aux, t):
    return {"state": state, "t": aux["t"]}


@pytest.mark.parametrize("driver", ["scan", "python"])
@pytest.mark.parametrize(("num_steps", "every"), [(7, 1), (7, 3), (6, 3), (2, 5), (0, 1)])
def test_records_are_the_states_before_their_steps(driver, num_steps, every):
    state, records = iterate(_step, jnp.float32(1.0), num_steps, record=_record, every=every, driver=driver)
    path = [1.0]
    for t in range(num_steps):
        path.append(path[-1] * 0.5 + t)
    assert float(state) == path[-1]
    if num_steps:
        np.testing.assert_array_equal(records["state"], path[:-1][::every])
        np.testing.assert_array_equal(records["t"], np.arange(num_steps)[::every])


def test_a_convolution_on_concrete_input_is_stepped_from_python():
    kernel = jnp.ones((3, 1, 1))
    calls = []

    def step(x, t):
        calls.append(t)
        return jax.lax.conv_general_dilated(x, kernel, (1,), "SAME", dimension_numbers=("NHC", "HIO", "NHC")) / 3, None

    x = jnp.ones((2, 8, 1))
    by_hand = iterate(step, x, 4, driver="python")[0]
    np.testing.assert_allclose(iterate(step, x, 4)[0], by_hand, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(lambda x: iterate(step, x, 4)[0])(x), by_hand, rtol=1e-6)


@pytest.mark.parametrize(
    ("kwargs", "message"), [({"num_steps": -1}, "num_steps"), ({"num_steps": 2, "every": 0}, "every"), ({"num_steps": 2, "driver": "loop"}, "driver")]
)
def test_bad_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        iterate(_step, 0.0, **kwargs)
