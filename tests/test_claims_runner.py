"""Verdicts on claims that run in this process."""

import jax
import jax.numpy as jnp
import pytest

from jaxgen import claims

pytestmark = pytest.mark.any_precision

TEXTS = {"title": "a title", "source": "a source", "statement": "1 = 1"}


@pytest.fixture(autouse=True)
def registry():
    with claims.isolated() as made:
        yield made


def make(body, control, fails="every", **options):
    made = claims.claim("AB-1", **TEXTS, **options)(body)
    made.control("control", fails=fails)(control)
    return made


def uniform(key):
    return jax.random.uniform(key)


def below(bound):
    return lambda key: claims.at_most(uniform(key), bound)


def test_a_true_claim_with_a_false_control_passes():
    result = claims.run_claim(make(below(1.0), below(-1.0)))
    assert (result.verdict, result.passed, result.num_seeds) == ("held", True, 16)
    (check,) = result.checks
    assert check.held_seeds == 16
    assert check.lhs.mean == pytest.approx(sum(check.lhs.per_seed) / 16)
    assert min(check.margin) == pytest.approx(1 - check.lhs.high)
    assert result.controls[0].failed_seeds == 16


def test_a_claim_that_fails_on_some_seeds_fell_short():
    result = claims.run_claim(make(below(0.5), below(-1.0)))
    assert result.verdict == "fell short"
    assert 0 < result.checks[0].held_seeds < 16
    assert not result.passed


@pytest.mark.parametrize(("fails", "bound", "refuted"), [("every", 0.5, False), ("some", 0.5, True), ("every", -1.0, True), ("some", 1.0, False)])
def test_a_control_must_fail_on_as_many_seeds_as_it_says(fails, bound, refuted):
    result = claims.run_claim(make(below(1.0), below(bound), fails))
    assert result.held
    assert result.controls[0].refuted is refuted
    assert result.passed is refuted


def test_a_nan_fails_a_claim_and_refutes_no_control():
    result = claims.run_claim(make(below(jnp.nan), below(jnp.nan)))
    assert result.verdict == "fell short"
    assert result.controls[0].failed_seeds == 0
    assert not result.controls[0].refuted


def test_an_infinite_failure_refutes_a_control():
    assert claims.run_claim(make(below(1.0), lambda key: claims.at_most(jnp.inf, 1.0))).passed


def test_all_checks_must_hold_and_one_that_fails_refutes():
    def both(first, second):
        return lambda key: {"second": below(second)(key), "first": below(first)(key)}

    result = claims.run_claim(make(both(1.0, 2.0), both(1.0, -1.0)))
    assert result.passed
    assert [check.name for check in result.checks] == ["second", "first"]


def test_one_check_that_fails_is_enough_for_a_claim_to_fall_short():
    body = make(lambda key: {"true": below(1.0)(key), "false": below(-1.0)(key)}, below(-1.0))
    assert claims.run_claim(body).verdict == "fell short"


def test_an_exception_is_the_verdict_error_with_its_message():
    def raising(key):
        raise RuntimeError("the body gave up")

    result = claims.run_claim(make(raising, below(-1.0)))
    assert result.verdict == "error"
    assert result.error is not None
    assert result.error.endswith("RuntimeError: the body gave up")
    assert not result.passed


@pytest.mark.parametrize(
    ("body", "options", "message"),
    [
        (lambda key: claims.equal_in_mean(uniform(key), 0.5), {}, "declare it with statistical=True"),
        (below(1.0), {"statistical": True}, "returns no statistical relation"),
        (uniform, {}, "must return a relation"),
    ],
)
def test_bodies_that_break_the_contract_are_errors(body, options, message):
    result = claims.run_claim(make(body, below(-1.0), **options))
    assert result.verdict == "error"
    assert message in str(result.error)


def test_a_claim_without_control_is_an_error():
    result = claims.run_claim(claims.claim("AB-1", **TEXTS)(below(1.0)))
    assert "AB-1 has no control" in str(result.error)


def mean_is(value):
    return lambda key: claims.equal_in_mean(uniform(key), value)


@pytest.mark.parametrize(("value", "control", "verdict", "refuted"), [(0.5, 0.9, "held", True), (0.9, 0.5, "fell short", False)])
def test_statistical_claims_are_judged_by_their_test(value, control, verdict, refuted):
    result = claims.run_claim(make(mean_is(value), mean_is(control), statistical=True), level=1e-4)
    assert result.verdict == verdict
    assert result.controls[0].refuted is refuted
    assert result.num_seeds == 64
    assert result.checks[0].level == 1e-4


def test_the_family_wise_level_is_shared_by_the_statistical_claims_of_a_run():
    for id in ("AB-1", "AB-2"):
        claims.claim(id, **TEXTS, statistical=True)(mean_is(0.5)).control("control")(mean_is(0.9))
    claims.claim("AB-3", **TEXTS)(below(1.0)).control("control")(below(-1.0))
    results = claims.verify("AB-*", full=True)
    assert [result.checks[0].level for result in results] == [5e-4, 5e-4, None]
    assert all(result.passed for result in results)


def test_the_number_of_seeds_stays_within_what_the_claim_allows():
    made = make(mean_is(0.5), mean_is(0.9), statistical=True, num_seeds=9, max_seeds=10)
    assert claims.run_claim(made, num_seeds=2).num_seeds == 8
    assert [made.seeds_of_run(number) for number in (None, 9, 99)] == [9, 9, 10]


def test_results_do_not_depend_on_chunks_or_on_compilation():
    runs = []
    for id, options in {"AB-1": {}, "AB-2": {"chunk_size": 3}, "AB-3": {"jittable": False}}.items():
        made = claims.claim(id, **TEXTS, **options)(below(1.0))
        made.control("control")(below(-1.0))
        made.id = "AB-1"
        runs.append(claims.run_claim(made, num_seeds=7).checks[0].lhs.per_seed)
    assert runs[0] == runs[1] == runs[2]


def test_bodies_that_cannot_be_compiled_run_seed_by_seed():
    def refuse(value):
        if value >= 0:
            raise ValueError("too large")

    result = claims.run_claim(
        make(lambda key: claims.rejects(refuse, float(uniform(key)), match="large"), lambda key: claims.rejects(refuse, -1.0), jittable=False)
    )
    assert result.passed


def test_arrays_are_reported_by_the_element_with_the_smallest_margin():
    result = claims.run_claim(make(lambda key: claims.at_most(jnp.array([0.0, 2.0, 1.0]), 3.0), below(-1.0)), num_seeds=2)
    check = result.checks[0]
    assert check.lhs.per_seed == [2.0, 2.0]
    assert (check.lhs.low, check.lhs.high, check.lhs.shape) == (0.0, 2.0, [3])
    assert check.lhs.values == [[0.0, 2.0, 1.0]] * 2
    assert check.margin == [1.0, 1.0]


def test_huge_arrays_are_reported_by_their_range_alone():
    result = claims.run_claim(make(lambda key: claims.at_most(jnp.arange(2000.0), 3000.0), below(-1.0)), num_seeds=2)
    assert result.checks[0].lhs.values is None
    assert result.checks[0].lhs.high == 1999


def test_a_figure_is_drawn_when_asked_for():
    pytest.importorskip("matplotlib")
    made = make(below(1.0), below(-1.0))

    @made.figure
    def _(key):
        from matplotlib.figure import Figure

        figure = Figure()
        figure.subplots().plot([0, float(uniform(key))])
        return figure

    assert claims.run_claim(made, num_seeds=2).figure is None
    assert str(claims.run_claim(made, num_seeds=2, figure=True).figure).startswith("<svg")


def test_an_unknown_claim_suggests_the_nearest():
    make(below(1.0), below(-1.0))
    with pytest.raises(ValueError, match="did you mean AB-1"):
        claims.verify("AB-9")
