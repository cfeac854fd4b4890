"""What the claims BIAS-5, BIAS-22 and BIAS-23 stand on: coverage, and that they notice wrong quantities."""

import jax
import pytest

from jaxgen import claims, implicit_bias

pytestmark = pytest.mark.float64


@pytest.fixture(scope="module")
def registered():
    return claims.load().claims


@pytest.mark.parametrize("entry", ["BIAS-5", "BIAS-22", "BIAS-23"])
def test_every_entry_has_a_claim(entry, registered):
    assert [claim for claim in registered.values() if claim.entry == entry]


@pytest.mark.parametrize(
    ("name", "wrong", "id"),
    [
        ("balanced_velocity", lambda right: lambda *arguments: right(*arguments) * 1.001, "BIAS-23"),
        ("min_nuclear_norm_psd_commuting", lambda right: lambda *arguments: right(*arguments)._replace(gap=1.0), "BIAS-22.nuclear-norm"),
    ],
)
def test_a_wrong_quantity_makes_its_claim_fall_short(monkeypatch, registered, name, wrong, id):
    monkeypatch.setattr(implicit_bias, name, wrong(getattr(implicit_bias, name)))
    claim = registered[id]
    checks = jax.jit(claim.body)(claim.keys(1)[0])
    checks = checks.values() if isinstance(checks, dict) else [checks]
    assert not all(bool(check.held) for check in checks)
