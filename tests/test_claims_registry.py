"""The decorator and the register."""

import jax
import numpy as np
import pytest

from jaxgen import claims

pytestmark = pytest.mark.any_precision

TEXTS = {"title": "a title", "source": "a source", "statement": "1 = 1"}


@pytest.fixture
def registry():
    with claims.isolated() as made:
        yield made


def make(id, **options):
    @claims.claim(id, **TEXTS, **options)
    def body(key):
        return claims.at_most(0.0, 1.0)

    @body.control("sides swapped")
    def _(key):
        return claims.at_most(1.0, 0.0)

    return body


def test_a_claim_is_its_body_with_texts_and_controls(registry, key):
    made = make("AB-12b", core=True)
    assert bool(made(key).held)
    assert made.entry == "AB-12"
    assert [control.name for control in made.controls] == ["sides swapped"]
    assert registry.claims == {"AB-12b": made}


def test_a_check_is_made_in_double_precision_in_any_process(registry, key):
    @claims.claim("AB-1", **TEXTS)
    def body(key):
        return claims.at_most(jax.random.uniform(key), 1.0)

    assert body.check(key).lhs.dtype == np.float64


@pytest.mark.parametrize("id", ["info-1", "INFO", "INFO-", "INFO-1 b", "INFO-1.", "INFO-1B"])
def test_malformed_ids_are_refused(registry, id):
    with pytest.raises(ValueError, match="a claim id is like"):
        make(id)


def test_a_taken_id_is_refused(registry):
    make("AB-1")
    with pytest.raises(ValueError, match="AB-1 is taken already, by 'a title'"):
        make("AB-1")
    with pytest.raises(ValueError, match="AB-1 is taken already"):
        claims.not_a_claim("AB-1", title="t", reason="r")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"title": " "}, "title must not be empty"),
        ({"num_seeds": 0}, "num_seeds"),
        ({"statistical": True, "min_seeds": 1}, "min_seeds of at least 2"),
        ({"num_seeds": 4, "min_seeds": 8}, "num_seeds must be at least min_seeds = 8"),
        ({"max_seeds": 4}, "max_seeds must be an integer of at least 16"),
        ({"budget": 0.0}, "budget must be positive"),
        ({"chunk_size": 0}, "chunk_size"),
    ],
)
def test_bad_options_of_a_claim_are_named(registry, options, message):
    with pytest.raises(ValueError, match=message):
        claims.claim("AB-1", **TEXTS | options)


def test_controls_need_a_new_name_and_a_known_way_to_fail(registry):
    made = make("AB-1")
    with pytest.raises(ValueError, match="control named 'sides swapped' already"):
        made.control("sides swapped")
    with pytest.raises(ValueError, match="fails must be one of"):
        made.control("other", fails="never")


def test_a_claim_without_control_does_not_load(registry):
    @claims.claim("AB-1", **TEXTS)
    def body(key):
        return claims.at_most(0.0, 1.0)

    with pytest.raises(ValueError, match=r"every claim needs a control.*AB-1"):
        claims.load([__name__])


def test_an_unknown_module_is_named(registry):
    with pytest.raises(ValueError, match="no module named 'no_such_module'"):
        claims.load(["no_such_module"])


def test_keys_depend_on_id_and_seed_alone_and_more_seeds_extend_fewer(registry):
    first, second = make("AB-1"), make("AB-2")
    data = jax.random.key_data
    np.testing.assert_array_equal(data(first.keys(4)), data(first.keys(9))[:4])
    assert (data(first.keys(4)) != data(second.keys(4))).any()
    assert (data(first.keys(4)) != data(first.keys(4, seed=1))).any()
    assert first.keys().shape == (16,)


@pytest.fixture
def several(registry):
    for id in ("AB-10", "AB-2", "AB-2.equality", "CD-1"):
        make(id, core=id.startswith("AB-2"))
    claims.not_a_claim("AB-3", title="a picture", reason="it is a picture")
    return registry


@pytest.mark.parametrize(
    ("only", "full", "expected"),
    [
        ([], False, ["AB-2", "AB-2.equality"]),
        ([], True, ["AB-2", "AB-2.equality", "AB-10", "CD-1"]),
        (["ab-2"], False, ["AB-2", "AB-2.equality"]),
        (["AB-2.equality"], False, ["AB-2.equality"]),
        (["AB-10", "AB-2"], False, ["AB-2", "AB-2.equality", "AB-10"]),
        (["AB-*"], True, ["AB-2", "AB-2.equality", "AB-10"]),
        (["AB-*"], False, ["AB-2", "AB-2.equality"]),
    ],
)
def test_selection_by_id_entry_and_pattern(several, only, full, expected):
    assert [claim.id for claim in several.select(only, full=full)] == expected


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ("AB-11", "unknown claim 'AB-11'; did you mean AB-10"),
        ("ZZZZ", "unknown claim 'ZZZZ'; `jaxgen verify --list` shows all"),
        ("CD-*", "no claim of the core set matches 'CD-.*'; with --full, 1 do"),
        ("AB-3", r"AB-3 \(a picture\) is no numerical claim: it is a picture"),
    ],
)
def test_a_name_that_selects_nothing_is_explained(several, only, message):
    with pytest.raises(ValueError, match=message):
        several.select([only])


def test_the_chapters_load_and_every_claim_has_a_control():
    registry = claims.load()
    assert "INFO-1" in registry.claims
    assert all(claim.controls for claim in registry.claims.values())
    assert all(claim.body.__module__.startswith("jaxgen.claims.") for claim in registry.claims.values())
