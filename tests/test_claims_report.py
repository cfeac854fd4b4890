"""JSON, page and tables of a run."""

import html.parser
import io
import json
import math
import re

import jax
import jax.numpy as jnp
import pytest
from rich.console import Console

from jaxgen import claims
from jaxgen.claims import _html, _report, _svg, _table

pytestmark = pytest.mark.any_precision


@pytest.fixture(scope="module")
def run():
    with claims.isolated() as registry:

        @claims.claim("AB-1", title="A <true> claim", source="Someone 1999", statement=r"\frac{1}{n} \sum_{i=1}^n x_i \le 1", core=True)
        def true(key):
            return {"scalar": claims.at_most(jax.random.uniform(key), 1.0), "vector": claims.equal(jnp.arange(3.0), jnp.arange(3.0), rtol=1e-9)}

        @true.control("infinite")
        def _(key):
            return claims.at_most(jnp.inf, 1.0)

        @claims.claim("AB-2", title="Not a number", source="Nobody", statement=r"For every $n$, $x \in \mathbb{R}^n$ & so on")
        def nan(key):
            return claims.at_most(jnp.nan, 1.0)

        @nan.control("holds")
        def _(key):
            return claims.at_most(0.0, 1.0)

        @claims.claim("AB-3", title="Raises", source="Nobody", statement=r"\unknown{")
        def raises(key):
            raise RuntimeError("<gave up>")

        @raises.control("never reached")
        def _(key):
            return claims.at_most(0.0, 1.0)

        @claims.claim("AB-4", title="In mean", source="Someone", statement=r"\mathbb{E}[X] = 0", statistical=True)
        def mean(key):
            return claims.equal_in_mean(jax.random.normal(key), 0.0)

        @mean.control("shifted")
        def _(key):
            return claims.equal_in_mean(jax.random.normal(key) + 3.0, 0.0)

        entry = claims.not_a_claim("AB-5", title="A picture", reason="It is a picture")
        chosen = registry.select(full=True)
        results = [claims.run_claim(claim) for claim in chosen]
    return _report.Run(chosen, [entry], {"only": [], "full": True, "seed": 0}, results[::-1], 1.5)


def test_json_has_every_number_in_the_order_of_the_claims(run):
    document = json.loads(_report.to_json(run))
    assert [one["id"] for one in document["claims"]] == ["AB-1", "AB-2", "AB-3", "AB-4"]
    assert [one["verdict"] for one in document["claims"]] == ["held", "fell short", "error", "held"]
    assert document["passed"] is False
    assert document["complete"] is True
    assert document["counts"] == {
        "claims": 4, "finished": 4, "held": 2, "fell_short": 1, "errors": 1, "controls": 3, "refuted": 2, "statistical": 1,
    }  # fmt: skip
    assert document["configuration"] == {"only": [], "full": True, "seed": 0, "family_wise_level": 1e-3, "level_per_statistical_claim": 1e-3}
    assert {"jaxgen", "jax", "numpy", "python"} <= document["versions"].keys()
    first = document["claims"][0]
    assert set(first) == set(claims.ClaimResult.__dataclass_fields__) | {"passed"}
    assert len(first["checks"][0]["lhs"]["per_seed"]) == 16
    assert first["checks"][1]["lhs"]["values"][0] == [0.0, 1.0, 2.0]
    assert document["not_claims"] == [{"id": "AB-5", "title": "A picture", "reason": "It is a picture"}]


def test_numbers_that_are_not_finite_are_strings_in_json(run):
    document = json.loads(_report.to_json(run), parse_constant=pytest.fail)
    assert document["claims"][0]["controls"][0]["checks"][0]["lhs"]["mean"] == "inf"
    assert document["claims"][0]["controls"][0]["checks"][0]["margin"][0] == "-inf"
    assert document["claims"][1]["checks"][0]["lhs"]["per_seed"][0] == "nan"


class _Balance(html.parser.HTMLParser):
    VOID = ("meta", "line", "circle")

    def __init__(self):
        super().__init__()
        self.open, self.attributes = [], []

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_fetches_nothing(run):
    page = _html.page(run)
    parser = _Balance()
    parser.feed(page)
    assert parser.open == []
    assert "http" not in page
    assert not re.search(r"<(script|link|img|iframe)|@import|url\(", page)
    assert all(value is None or value.startswith("#") for name, value in parser.attributes if name in ("src", "href"))


def test_the_page_typesets_statements_and_shows_verdicts(run):
    page = _html.page(run)
    assert page.count("<math") == 4
    assert "<mfrac>" in page
    assert r"<code>\unknown{</code>" in page
    assert "A &lt;true&gt; claim" in page
    assert "&lt;gave up&gt;" in page
    for verdict in ("held", "fell short", "error", "refuted", "not refuted"):
        assert f">{verdict}</span>" in page
    assert "It is a picture" in page
    assert 'class="strip"' in page


@pytest.mark.parametrize("statement", [r"\gamma", r"gen $\le$ bound"])
def test_a_statement_is_a_formula_or_prose_with_formulas(statement):
    typeset = _html.typeset(statement)
    assert "<math" in typeset
    assert ("<p" in typeset) is ("$" in statement)


def test_every_chapters_statement_can_be_typeset():
    for claim in claims.load().claims.values():
        assert "<code>" not in _html.typeset(claim.statement), claim.id


def test_a_strip_plot_has_a_line_per_seed_up_to_a_limit(run):
    check = run.ordered[0].checks[0]
    assert _svg.strip_plot(check).count("<circle") == 2 * 16
    wide = claims.run_claim(next(claim for claim in run.claims if claim.id == "AB-1"), num_seeds=400).checks[0]
    assert _svg.strip_plot(wide).count("<circle") <= 2 * _svg.MAX_SEEDS
    assert "No seed has two finite sides" in _svg.strip_plot(run.ordered[1].checks[0])


def test_positive_values_over_many_decades_get_a_logarithmic_axis(run):
    with claims.isolated():

        @claims.claim("AB-1", title="t", source="s", statement="1 = 1")
        def body(key):
            return claims.at_most(10.0 ** (-6 * jax.random.uniform(key)), 1.0)

        @body.control("c")
        def _(key):
            return claims.at_most(1.0, 0.0)

        assert "log scale" in _svg.strip_plot(claims.run_claim(body).checks[0])


def _rendered(renderable):
    out = Console(file=io.StringIO(), width=160)
    out.print(renderable)
    return out.file.getvalue()


def test_the_table_has_a_row_per_claim(run):
    lines = _rendered(_table.table(run.ordered)).splitlines()
    assert len(lines) == 5
    assert re.search(r"AB-1 .* ≤ .* held +refuted", lines[1])
    assert re.search(r"AB-2 .*nan.* fell short +NOT refuted: holds", lines[2])
    assert re.search(r"AB-3 .* error", lines[3])
    assert re.search(r"AB-4 .* p = .* held +refuted", lines[4])


def test_what_fell_short_is_explained_below_the_table(run):
    text = "\n".join(str(part) for part in _table.details(run.ordered))
    assert "AB-1" not in text
    assert "held on 0 of 16 seeds" in text
    assert "control 'holds' was not refuted: it failed on 0 of 16 seeds and must on every" in text
    assert "RuntimeError: <gave up>" in text


def test_the_summary_counts_and_states_the_level(run):
    lines = _report.summary(run)
    assert lines[0].startswith("2 of 4 claims held, 2 of 3 controls refuted")
    assert "1 fell short, 1 ended in an error" in lines[0]
    assert "16 to 64 seeds a claim; family-wise level 0.001, 0.001 for each statistical claim" in lines[1]


@pytest.mark.parametrize(("value", "shown"), [(1234567.0, "1.235e+06"), (0.5, "0.5"), (math.inf, "∞"), (-math.inf, "-∞"), (math.nan, "nan")])
def test_numbers_are_short(value, shown):
    assert _report.number(value) == shown


def test_files_are_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "report.json"
    _report.write(path, "old")
    with pytest.raises(TypeError):
        _report.write(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["missing/report.json", "."])
def test_a_path_that_cannot_be_written_is_named(tmp_path, name):
    with pytest.raises(ValueError, match="cannot write"):
        _report.check_writable(tmp_path / name)


def test_the_listing_says_why_an_entry_is_no_claim(run):
    text = _rendered(_table.listing([*run.claims, *run.not_claims]))
    assert re.search(r"AB-1 .* core +16 +infinite", text)
    assert re.search(r"AB-4 .* full +64 +shifted", text)
    assert re.search(r"AB-5 .* It is a picture", text)
