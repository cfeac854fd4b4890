"""Running many seeds: chunks, lock step, devices, checkpoints."""

import json
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh

from jaxgen import seeds
from jaxgen._core import checkpoint, checks, lock_step
from jaxgen._core.across import gather
from jaxgen._core.scan import iterate


def _mesh(count):
    return Mesh(np.array(jax.devices()[:count]), ("devices",), axis_types=(AxisType.Auto,))


def _data():
    x = jax.random.normal(jax.random.key(1), (40, 6))
    return x, jnp.tanh(x @ jnp.arange(6.0)) + 0.1


def _train(key, data, *, axis_name=None, num_steps=50):
    """A small net, trained; in lock step it records the spread of the seeds' gradients."""
    x, y = data
    k1, k2 = jax.random.split(key)
    params = {"w": jax.random.normal(k1, (6, 8)) / 2, "v": jax.random.normal(k2, (8,)) / 3}

    def loss(p):
        return jnp.mean((jax.nn.relu(x @ p["w"]) @ p["v"] - y) ** 2)

    def step(p, t):
        grad = jax.grad(loss)(p)
        return jax.tree.map(lambda a, g: a - 0.05 * g, p, grad), grad

    def record(p, grad, t):
        if axis_name is None:
            return loss(p)
        stacked = gather(grad, axis_name)
        return sum(jnp.var(leaf, axis=0, ddof=1).sum() for leaf in jax.tree.leaves(stacked))

    params, records = iterate(step, params, num_steps, record=record)
    return {"params": params, "records": records, "final": loss(params)}


def _lock_step(key, data):
    return _train(key, data, axis_name="seeds")


def _equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.heavy
def test_chunks_of_one_equal_a_loop_over_seeds(key):
    keys = jax.random.split(key, 5)
    together = seeds.run(_train, keys, _data())
    for k in range(5):
        jax.tree.map(lambda a, b, k=k: np.testing.assert_allclose(a[k], b, rtol=1e-4, atol=1e-5), together, jax.jit(_train)(keys[k], _data()))


@pytest.mark.heavy
@pytest.mark.parametrize("chunk_size", [None, pytest.param(2, marks=pytest.mark.slow), 3])
def test_chunked_results_have_the_same_bits_on_1_2_and_4_devices(key, chunk_size):
    keys = jax.random.split(key, 7)
    first, *others = (seeds.run(_train, keys, _data(), mesh=_mesh(count), chunk_size=chunk_size) for count in (1, 2, 4))
    for other in others:
        _equal(first, other)


@pytest.mark.heavy
def test_lock_step_results_have_the_same_bits_on_1_2_and_4_devices(key):
    keys = jax.random.split(key, 8)
    first, *others = (seeds.run(_lock_step, keys, _data(), mesh=_mesh(count), axis_name="seeds") for count in (1, 2, 4))
    for other in others:
        _equal(first, other)


@pytest.mark.float64
def test_chunk_sizes_agree_to_1e12_in_double_precision(key):
    keys = jax.random.split(key, 6)
    first, *others = (seeds.run(_train, keys, _data(), chunk_size=width) for width in (1, 2, 4, 6))
    for other in others:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), first, other)


def test_lock_step_sees_the_other_seeds(key):
    keys = jax.random.split(key, 4)
    mean = seeds.run(lambda k: jax.lax.pmean(jax.random.normal(k), "s"), keys, axis_name="s")
    np.testing.assert_allclose(mean, jax.vmap(jax.random.normal)(keys).mean() * jnp.ones(4), rtol=1e-5)


@pytest.mark.heavy
def test_keys_may_be_any_pytree_with_a_leading_axis(key):
    keys = (jax.random.split(key, 3), jnp.arange(3.0))
    out = seeds.run(lambda k, shift: jax.random.normal(k[0]) + k[1] + shift, keys, 10.0)
    np.testing.assert_allclose(out, jax.vmap(jax.random.normal)(keys[0]) + keys[1] + 10, rtol=1e-6)


def test_under_a_transformation_run_is_a_plain_map(key):
    total = jax.jit(lambda keys, s: seeds.run(lambda k, s: s * jax.random.normal(k), keys, s).sum())(jax.random.split(key, 3), 2.0)
    np.testing.assert_allclose(total, 2 * jax.vmap(jax.random.normal)(jax.random.split(key, 3)).sum(), rtol=1e-5)


class _Killed(Exception):
    pass


def _kill_after(monkeypatch, count):
    original, calls = checkpoint.Checkpoint.save, []

    def save(self, *args):
        original(self, *args)
        calls.append(args[0])
        if len(calls) == count:
            raise _Killed

    monkeypatch.setattr(checkpoint.Checkpoint, "save", save)


@pytest.mark.heavy
@pytest.mark.parametrize(("fn", "kwargs"), [(_train, {"chunk_size": 2}), (_lock_step, {"axis_name": "seeds"})])
def test_a_killed_run_resumes_to_the_same_bits(key, tmp_path, monkeypatch, fn, kwargs):
    keys = jax.random.split(key, 12)
    whole = seeds.run(fn, keys, _data(), mesh=_mesh(2), checkpoint=tmp_path / "whole", **kwargs)
    with monkeypatch.context() as patch:
        _kill_after(patch, 4)
        with pytest.raises(_Killed):
            seeds.run(fn, keys, _data(), mesh=_mesh(2), checkpoint=tmp_path / "killed", **kwargs)
    resumed = seeds.run(fn, keys, _data(), mesh=_mesh(2), checkpoint=tmp_path / "killed", **kwargs)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves((whole, resumed)))
    _equal(whole, resumed)
    _equal(resumed, seeds.run(fn, keys, _data(), mesh=_mesh(2), checkpoint=tmp_path / "killed", **kwargs))


@pytest.mark.heavy
def test_chunks_saved_on_two_devices_resume_on_four_with_the_same_bits(key, tmp_path, monkeypatch):
    keys = jax.random.split(key, 12)
    whole = seeds.run(_train, keys, _data(), mesh=_mesh(4), chunk_size=2)
    with monkeypatch.context() as patch:
        _kill_after(patch, 3)
        with pytest.raises(_Killed):
            seeds.run(_train, keys, _data(), mesh=_mesh(2), chunk_size=2, checkpoint=tmp_path)
    _equal(whole, seeds.run(_train, keys, _data(), mesh=_mesh(4), chunk_size=2, checkpoint=tmp_path))


@pytest.mark.heavy
def test_the_checkpoint_in_time_holds_the_state_and_the_records_only(key, tmp_path, monkeypatch):
    monkeypatch.setattr(lock_step, "NUM_SEGMENTS", 5)
    _kill_after(monkeypatch, 2)
    with pytest.raises(_Killed):
        seeds.run(_lock_step, jax.random.split(key, 4), _data(), axis_name="seeds", checkpoint=tmp_path)
    with np.load(tmp_path / "state.npz", allow_pickle=False) as saved:
        shapes = [saved[name].shape for name in saved.files]
    assert shapes == [(), (4, 8), (4, 6, 8), (4, 20)]


@pytest.mark.heavy
def test_checkpoint_progress_and_plain_runs_agree(key, tmp_path, capfd):
    keys = jax.random.split(key, 4)
    plain = seeds.run(_lock_step, keys, _data(), axis_name="seeds")
    saved = seeds.run(_lock_step, keys, _data(), axis_name="seeds", checkpoint=tmp_path, progress=True)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), plain, saved)
    assert capfd.readouterr().out == ""


def test_a_function_without_a_loop_is_saved_when_it_ends(key, tmp_path):
    keys = jax.random.split(key, 3)
    first = seeds.run(jax.random.normal, keys, axis_name="seeds", checkpoint=tmp_path)
    _equal(first, seeds.run(jax.random.normal, keys, axis_name="seeds", checkpoint=tmp_path))


@pytest.mark.parametrize("kwargs", [{}, {"axis_name": "seeds"}])
def test_a_checkpoint_of_another_configuration_is_refused_and_kept(key, tmp_path, kwargs):
    keys = jax.random.split(key, 4)

    def run(keys, scale):
        return seeds.run(lambda k, s: s * jax.random.normal(k), keys, scale, checkpoint=tmp_path, **kwargs)

    run(keys, 1.0)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for other in ((keys, 2.0), (keys[::-1], 1.0)):
        with pytest.raises(ValueError, match="different configuration"):
            run(*other)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.heavy
def test_the_fingerprint_does_not_depend_on_what_was_traced_before(key):
    def fn(key, x):
        x = checks.checked(x, (x >= 0, "x must be nonnegative"))
        return _train(key, _data())["final"] + jnp.where(x > 0, x, 0.0).sum() + jax.nn.relu(x).sum() + jnp.where(x > 0, 0.0, x).sum()

    example = (key, jnp.ones(3))
    jax.clear_caches()
    cold = checkpoint.fingerprint(fn, example)
    jax.jit(fn)(*example)
    assert checkpoint.fingerprint(fn, example) == cold
    assert checkpoint.fingerprint(lambda key, x: fn(key, x) * 2, example) != cold
    assert checkpoint.fingerprint(fn, (key, 2 * jnp.ones(3))) != cold


def test_a_folder_that_is_no_checkpoint_is_left_alone(key, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="neither empty nor a checkpoint"):
        seeds.run(jax.random.normal, jax.random.split(key, 2), checkpoint=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="not a checkpoint's manifest"):
        seeds.run(jax.random.normal, jax.random.split(key, 2), checkpoint=tmp_path)


def test_the_manifest_names_no_place_on_this_machine(key, tmp_path):
    seeds.run(jax.random.normal, jax.random.split(key, 2), checkpoint=tmp_path)
    assert set(json.loads((tmp_path / "manifest.json").read_text())) == {"format", "configuration"}


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"chunk_size": 0}, "chunk_size"),
        ({"chunk_size": 2, "axis_name": "s"}, "lock step"),
        ({"axis_name": "s", "mesh": 4}, "multiple of the devices"),
    ],
)
def test_bad_arguments_are_named(key, kwargs, message):
    if "mesh" in kwargs:
        kwargs = kwargs | {"mesh": _mesh(kwargs["mesh"])}
    with pytest.raises(ValueError, match=message):
        seeds.run(jax.random.normal, jax.random.split(key, 3), **kwargs)


@pytest.mark.heavy
@pytest.mark.parametrize("kwargs", [{}, {"axis_name": "seeds"}])
def test_a_second_run_of_one_function_does_not_trace_again(key, kwargs):
    traces = []

    def fn(key):
        traces.append(None)
        return jax.random.normal(key)

    seeds.run(fn, jax.random.split(key, 4), **kwargs)
    count = len(traces)
    seeds.run(fn, jax.random.split(key, 8)[4:], **kwargs)
    assert len(traces) == count


def test_no_seed_at_all_is_refused(key):
    with pytest.raises(ValueError, match="at least one seed"):
        seeds.run(jax.random.normal, jax.random.split(key, 2)[:0])


PROCESS = """
import sys
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_num_cpu_devices", 2)
jax.distributed.initialize(f"127.0.0.1:{sys.argv[2]}", num_processes=2, process_id=int(sys.argv[1]))
from jax.sharding import AxisType, Mesh
from jaxgen import seeds
mesh = Mesh(np.array(jax.devices()), ("hosts",), axis_types=(AxisType.Auto,))
keys = jax.random.split(jax.random.key(0), 8)
fn = lambda k, s: s * jax.random.normal(k, (3,))
chunked = seeds.run(fn, keys, 2.0, mesh=mesh, checkpoint=sys.argv[3])
mean = seeds.run(lambda k: jax.lax.pmean(jax.random.normal(k), "s"), keys, axis_name="s", mesh=mesh)
reference = jax.vmap(fn, (0, None))(keys, 2.0)
np.testing.assert_allclose(np.asarray(chunked), reference, rtol=1e-6)
local = np.concatenate([np.asarray(s.data) for s in mean.addressable_shards])
np.testing.assert_allclose(local, np.full(4, np.mean(jax.vmap(jax.random.normal)(keys))), rtol=1e-5)
print("agreed", jax.process_index())
"""


@pytest.mark.any_precision
def test_two_processes_run_one_study(tmp_path):
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    script = textwrap.dedent(PROCESS)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(i), port, str(tmp_path / "run")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for i in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    for i, output in enumerate(outputs):
        assert f"agreed {i}" in output, output
