"""Each of these changes to a formula must make a claim and a unit test fail."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import jaxgen

PACKAGE = Path(jaxgen.__file__).parent
TESTS = Path(__file__).parent


class Sabotage(NamedTuple):
    """A change of one line, and who must notice."""

    path: str
    right: str
    wrong: str
    claims: tuple[str, ...]
    tests: str


SABOTAGES = {
    "2 R^2 becomes R^2 in the bound of Xu and Raginsky": Sabotage(
        "bounds/information.py",
        'jnp.sqrt(at_least("n", n, 1))\n    bound',
        'jnp.sqrt(2 * at_least("n", n, 1))\n    bound',
        ("INFO-15",),
        "test_bounds_information.py::test_halving_the_constant_is_refuted_by_one_fair_bit",
    ),
    "the flatness term changes its sign": Sabotage(
        "bounds/sgd.py",
        "Bound(trajectory + term,",
        "Bound(trajectory - term,",
        ("INFO-26.tight",),
        "test_bounds_linear_gaussian.py::test_generalization_bounds_have_their_known_values",
    ),
    "the fixed centre of the dispersion becomes the moving population gradient": Sabotage(
        "gradients/across_seeds.py",
        "_squared_distances(matrix, of_others)",
        "_squared_distances(matrix, population)",
        ("INFO-22.unbiased",),
        "test_gradients_across_seeds.py::test_the_population_centre_is_fitted_on_the_other_seeds",
    ),
    "the exact dispersion is taken about the moving population gradient": Sabotage(
        "data/linear_gaussian.py",
        "dispersion=d * dispersion,",
        "dispersion=d * data_variance * jnp.sum(weights**2, axis=1),",
        ("INFO-22.unbiased",),
        "test_data_linear_gaussian.py::test_the_dispersions_are_the_printed_ones",
    ),
    "lambda^2 becomes lambda in the trajectory term": Sabotage(
        "bounds/sgd.py",
        '(at_least("learning_rate", rate, 0) / positive("noise_std", noise)) ** 2',
        'at_least("learning_rate", rate, 0) / positive("noise_std", noise) ** 2',
        ("INFO-26.invariance",),
        "test_bounds_linear_gaussian.py::test_trajectory_does_not_change_when_rate_and_noise_are_scaled_together",
    ),
    "1/(K-1) becomes 1/K": Sabotage(
        "gradients/across_seeds.py",
        "_squared_distances(matrix, matrix.mean(axis=0)).sum() / (count - 1)",
        "_squared_distances(matrix, matrix.mean(axis=0)).sum() / count",
        ("INFO-22.unbiased",),
        "test_gradients_across_seeds.py::test_seed_mean_is_the_trace_of_the_sample_covariance",
    ),
    "Neu's variance is taken about the gradient itself and its own mean": Sabotage(
        "gradients/spread.py",
        "return optax.tree.norm(optax.tree.sub(gradient, centre), squared=True) - variance_of_centre",
        "return batch_gradient_variance(loss_fn, params, held_out, batch_size=1)",
        ("INFO-22.neu",),
        "test_gradients_examples.py::test_neu_variance_is_unbiased_and_the_empirical_centre_falls_short",
    ),
}

SCRIPT = """
import json, sys
import pytest
ids, module = json.loads(sys.argv[1]), sys.argv[2]
failed = pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-W", "ignore", module])
from jaxgen import claims
verdicts = {result.id: result.passed for result in claims.verify(ids)}
print("OUTCOME " + json.dumps({"tests": int(failed), "claims": verdicts}))
"""


def _outcome(folder, sabotage):
    environment = os.environ | {"PYTHONPATH": str(folder), "JAX_NUM_CPU_DEVICES": "1"}
    command = [sys.executable, "-c", SCRIPT, json.dumps(sabotage.claims), str(TESTS / sabotage.tests)]
    output = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    lines = [line for line in output.stdout.splitlines() if line.startswith("OUTCOME ")]
    assert lines, output.stdout[-2000:] + output.stderr[-2000:]
    return json.loads(lines[0].removeprefix("OUTCOME "))


@pytest.mark.slow
@pytest.mark.any_precision
@pytest.mark.parametrize("name", SABOTAGES)
def test_sabotage_is_caught_by_a_claim_and_by_a_unit_test(name, tmp_path):
    sabotage = SABOTAGES[name]
    shutil.copytree(PACKAGE, tmp_path / "jaxgen", ignore=shutil.ignore_patterns("__pycache__"))
    source = tmp_path / "jaxgen" / sabotage.path
    assert source.read_text().count(sabotage.right) == 1, "the line to change is not there, or not alone"
    source.write_text(source.read_text().replace(sabotage.right, sabotage.wrong))
    outcome = _outcome(tmp_path, sabotage)
    assert outcome["tests"] == 1, "no unit test noticed"
    assert not all(outcome["claims"].values()), "no claim noticed"


@pytest.mark.slow
@pytest.mark.any_precision
def test_without_sabotage_everything_passes(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "jaxgen", ignore=shutil.ignore_patterns("__pycache__"))
    for sabotage in SABOTAGES.values():
        assert _outcome(tmp_path, sabotage)["tests"] == 0
