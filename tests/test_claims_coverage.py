"""Every entry of the specification has a claim, or says why it is none."""

import pytest

from jaxgen import claims

CHAPTERS = {
    "AD": range(1, 7),
    "BIAS": range(1, 37),
    "GEN": range(1, 44),
    "INFO": range(1, 41),
    "LS": range(1, 7),
    "NORM": range(1, 17),
    "NTK": range(1, 26),
    "OPT": (18, 20),
    "PROB": range(1, 9),
    "SDE": range(1, 21),
}


@pytest.mark.any_precision
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_entry_has_a_claim_or_a_reason(chapter, registered):
    there = {claim.entry for claim in registered.values()} | {item.id for item in claims.load().not_claims.values()}
    assert not [f"{chapter}-{number}" for number in CHAPTERS[chapter] if f"{chapter}-{number}" not in there]
