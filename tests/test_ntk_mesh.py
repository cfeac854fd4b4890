"""Empirical kernels over devices: simulated ones in a process of their own, and those of two real processes."""

import json
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import models, ntk
from tests._networks import NETWORKS

pytestmark = pytest.mark.any_precision

PROBLEM = """
import json, sys
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))
if len(sys.argv) > 2:
    jax.distributed.initialize(f"127.0.0.1:{sys.argv[3]}", num_processes=2, process_id=int(sys.argv[2]))
from jax.sharding import AxisType, Mesh
from jaxgen import models, ntk
net = models.mlp((5, 3), activation="tanh")
x = jnp.asarray(np.random.default_rng(0).normal(size=(19, 4)))
params = jax.tree.map(lambda leaf: leaf + 0.1, net.init(jax.random.key(0), x))
def mesh(count):
    return Mesh(np.array(jax.devices()[:count]), ("examples",), axis_types=(AxisType.Auto,))
def kernel(count, *points, **options):
    return ntk.empirical(net.apply, params, *points, mesh=None if count is None else mesh(count), **options)
def error(found, expected):
    return float(np.abs(np.asarray(found) - expected).max() / np.abs(expected).max())
"""
SIMULATED = """
found = {}
whole, other, trace = np.asarray(kernel(None, x)), np.asarray(kernel(None, x, x[:5], mode="trace")), np.asarray(kernel(None, x, mode="trace"))
for count in (1, 3, 8):
    found[f"half, {count} devices"] = error(kernel(count, x), whole)
for count in (1, 8):
    found[f"other columns, {count} devices"] = error(kernel(count, x, x[:5], mode="trace"), other)
found["more devices than examples"] = error(kernel(4, x[:2], mode="trace", strategy="vector_product"), trace[:2, :2])
spread = kernel(4, x[:16], mode="trace", chunk_size=3)
found["chunks"] = error(spread, trace[:16, :16])
found["rows"] = sorted(shard.index[0].start for shard in spread.addressable_shards)
print(json.dumps(found))
"""
PROCESSES = """
whole, other = np.asarray(kernel(None, x, mode="trace")), np.asarray(kernel(None, x, x[:5]))
found = {"padded": error(kernel(4, x, mode="trace"), whole), "other columns": error(kernel(4, x, x[:5]), other)}
spread = kernel(4, x[:16], mode="trace")
found["spread"] = max(error(shard.data, whole[:16, :16][shard.index]) for shard in spread.addressable_shards)
found["rows"] = sorted(shard.index[0].start for shard in spread.addressable_shards)
print(json.dumps(found))
"""
# Sums of some dozens of terms in another order.
ROUNDING = 1e-14


def _start(script, *arguments):
    command = [sys.executable, "-c", PROBLEM + script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _numbers(process):
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return json.loads(output.splitlines()[-1])


@pytest.mark.slow
def test_any_number_of_devices_gives_the_kernel():
    found = _numbers(_start(SIMULATED, 8))
    assert found.pop("rows") == [0, 4, 8, 12]
    assert max(found.values()) < ROUNDING, found
    assert found["half, 1 devices"] == 0
    assert found["other columns, 1 devices"] == 0


def test_two_processes_compute_one_kernel():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [_start(PROCESSES, 2, number, port) for number in range(2)]
    for process, rows in zip(processes, ([0, 4], [8, 12]), strict=True):
        found = _numbers(process)
        assert found.pop("rows") == rows
        assert max(found.values()) < ROUNDING, found


def _mesh(name="examples", devices=2):
    return jax.make_mesh((devices,), (name,), devices=jax.devices()[:devices], axis_types=(jax.sharding.AxisType.Auto,))


def test_a_mesh_must_have_the_axis_and_examples_must_not_know_their_place():
    net, x = models.mlp((3, 2)), jnp.ones((4, 2))
    params = net.init(jax.random.key(0), x)
    with pytest.raises(ValueError, match="mesh must have an axis named 'examples'; it has 'rows'"):
        ntk.empirical(net.apply, params, x, mesh=_mesh("rows"))
    with pytest.raises(ValueError, match="x1 must hold at least one example"):
        ntk.empirical(net.apply, params, x[:0], mesh=_mesh())
    with pytest.raises(ValueError, match="must have the same features"):
        ntk.empirical(net.apply, params, x, jnp.ones((4, 3)), mesh=_mesh())
    loss_fn, params, batch = NETWORKS["noise of the batch"]()
    for other in (None, batch):
        with pytest.raises(ValueError, match="mesh cannot be used: in apply_fn the place of an example in its batch matters"):
            ntk.empirical(loss_fn, params, batch, other, mesh=_mesh())
    alone = ntk.empirical(loss_fn, params, batch, mode="trace", mesh=_mesh(devices=1))
    np.testing.assert_array_equal(alone, ntk.empirical(loss_fn, params, batch, mode="trace"))
