"""What the claims about compression stand on: every entry has one, and they notice wrong quantities (GEN-16 to 22)."""

from functools import partial

import jax
import pytest

from jaxgen import bounds
from jaxgen.claims.generalization import low_rank

pytestmark = pytest.mark.float64


def test_the_risk_of_a_linear_net_is_that_of_a_large_sample(key):
    @jax.jit
    def risks(key):
        net, _, _, risk = low_rank._regressed(key, 5, 0.1)
        x = jax.random.normal(jax.random.fold_in(key, 1), (20_000, 5))
        labels = (x[:, 0] > 0) ^ jax.random.bernoulli(jax.random.fold_in(key, 2), 0.1, (20_000,))
        return bounds.margin_loss(x @ net[0].T, labels.astype(int), 0.0), risk(net[0])

    wrong, exact = risks(key)
    assert abs(wrong - exact) < 5 * 0.5 / 20_000**0.5  # five standard errors at most


@pytest.mark.parametrize(
    ("name", "wrong", "id"),
    [
        ("margin_loss", lambda right: lambda logits, labels, gamma: right(logits, labels, 0 * gamma), "GEN-17.margin"),
        ("sparsification_moments", lambda right: lambda *args, **options: right(*args, **options)._replace(num_nonzeros=80.0), "GEN-18.size"),
    ],
)
def test_a_wrong_quantity_makes_its_claim_fall_short(monkeypatch, registered, name, wrong, id):
    claim = registered[id]

    def held():
        found = jax.jit(partial(claim.body))(claim.keys(1)[0])
        return all(bool(check.held) for check in (found.values() if isinstance(found, dict) else [found]))

    assert held()
    monkeypatch.setattr(bounds, name, wrong(getattr(bounds, name)))
    assert not held()
