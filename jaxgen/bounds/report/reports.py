"""Every bound and measure for one trained net, beside its test error."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Int, Key, PyTree

from jaxgen._core.checks import is_traced, require
from jaxgen.bounds._inputs import failure_probability
from jaxgen.bounds.measures import complexity_measures
from jaxgen.bounds.report.entries import ENTRIES
from jaxgen.bounds.report.results import BoundReport, Row
from jaxgen.bounds.report.subject import Budget, Subject, subject
from jaxgen.models.losses import LOSSES


def bound_report(
    apply_fn: Callable[[PyTree, PyTree], Array],
    loss: Any,
    params: PyTree,
    init_params: PyTree,
    train: tuple[Array, Int[Array, " N"]],
    test: tuple[Array, Int[Array, " M"]],
    *,
    delta: float = 0.05,
    key: Key[Array, ""],
    names: Sequence[str] | None = None,
    joint: bool = False,
    measures: bool = True,
    budget: Budget | None = None,
) -> BoundReport:
    r"""The bounds of this room that apply to a trained classifier, and its complexity measures, in one table.

    All bound the zero-one risk, of the net, of a stochastic net around it or of a compressed one, as each row says. Those from training
    examples stand on no others; the hold-out bounds stand on the test examples, which must not have chosen anything. Rows that are
    not defined for the net say why; those that use a measured quantity in place of a proved one are called no theorem.

    Args:
        apply_fn: `apply_fn(params, x) -> (N, C)`, or (N,) for two classes; examples must not influence each other.
        loss: training loss, a name as in `models.loss_fn` or a function of outputs and labels.
        params: trained parameters.
        init_params: where training began, chosen without the data: the centre of priors, distances and helper strings.
        train: (x, y), all examples that training saw.
        test: (x, y), others.
        delta: probability with which a row may fail, concrete.
        key: PRNG key of sampling and training.
        names: rows that are wanted; default: all.
        joint: whether `delta` is shared out over the rows, so that all hold together.
        measures: whether complexity measures are computed too.
        budget: of rows that search or sample.

    Returns:
        The report; `print` shows it, `to_json` and `to_html` write it.

    Raises:
        ValueError: if trees differ, a data set has fewer than two examples, a name is unknown, or `delta` is outside (0, 1).
        TypeError: if an argument is traced, or labels are not integers.

    Source: spec GEN-43. Cost: on two cores a minute for 784-600-10 and 60,000 examples.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxgen import bounds, models
        >>> model, x = models.mlp((8, 2), bias=False), jax.random.normal(jax.random.key(0), (400, 3))
        >>> y = (x[:, 0] > 0).astype(int)
        >>> start = model.init(jax.random.key(1), x)
        >>> report = bounds.bound_report(model.apply, "cross_entropy", start, start, (x[:200], y[:200]), (x[200:], y[200:]),
        ...     key=jax.random.key(2), names=("holdout", "bits"), measures=False)
        >>> [(row.name, row.certified, row.vacuous) for row in report.rows]
        [('holdout', True, False), ('bits', True, True)]
    """
    delta = failure_probability(delta)
    if is_traced(params, init_params, train, test):
        raise TypeError("bound_report takes concrete arguments; call it outside jit, vmap and grad")
    unknown = [name for name in names or () if name not in ENTRIES]
    require(not unknown, f"names must be of rows, {', '.join(ENTRIES)}; got {', '.join(map(repr, unknown))}")
    wanted = list(ENTRIES if names is None else names)
    about = subject(apply_fn, loss, params, init_params, train, test, key, Budget() if budget is None else budget)
    share = delta / len(wanted) if joint else delta
    return BoundReport(
        tuple(_row(name, about, share) for name in wanted),
        _measured(about) if measures else {},
        about.train_error,
        float(about.test_errors.mean()),
        about.n,
        len(about.test_errors),
        about.num_parameters,
        share,
        joint,
    )


def _row(name: str, about: Subject, delta: float) -> Row:
    entry = ENTRIES[name]
    described = (name, entry.title, entry.of, entry.source)
    try:
        bound = entry.compute(about, delta)
    except ValueError as error:
        return Row(*described, math.nan, {}, False, None, (), str(error))
    terms = {term: float(jnp.mean(jnp.asarray(value))) for term, value in bound.terms.items()}
    return Row(*described, float(bound.value), terms, bound.certified, bound.confidence, bound.assumptions, "")


def _measured(about: Subject) -> dict[str, float]:
    loss = LOSSES[about.loss] if isinstance(about.loss, str) else about.loss
    found = complexity_measures(about.apply_fn, about.params, about.init_params, *about.train, loss=loss)
    return {name: float(value) for name, value in found.items()}
