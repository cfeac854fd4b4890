"""What a report found: rows and measures, as a table, as plain values, as a page."""

import dataclasses
import json
import math
from typing import Any


@dataclasses.dataclass(frozen=True)
class Row:
    """One bound of a report.

    Attributes:
        name: of the row.
        title: what the bound is called.
        of: whose risk it bounds.
        source: where it is from.
        value: bound on the risk; NaN where it is refused.
        terms: what it is made of.
        certified: whether it is a theorem under its assumptions.
        confidence: probability with which it holds; None where it is refused.
        assumptions: what must hold.
        refused: why there is none; empty where there is.
    """

    name: str
    title: str
    of: str
    source: str
    value: float
    terms: dict[str, float]
    certified: bool
    confidence: float | None
    assumptions: tuple[str, ...]
    refused: str

    @property
    def vacuous(self) -> bool:
        """Whether the bound says no more than that a risk is at most one."""
        return not self.value < 1

    @property
    def status(self) -> str:
        """What the row is, in a few words."""
        if self.refused:
            return "not defined"
        return f"{'certified' if self.certified else 'not a theorem'}{', vacuous' if self.vacuous else ''}"


@dataclasses.dataclass(frozen=True)
class BoundReport:
    """Every bound for one net beside its error; made by `bound_report`.

    Attributes:
        rows: the bounds, in order.
        measures: complexity measures by name.
        train_error: zero-one risk on the training examples.
        test_error: on the test examples.
        n: number of training examples.
        n_test: number of test examples.
        num_parameters: of the net.
        delta: probability with which each row may fail.
        joint: whether that is a part of one probability for all rows together.
    """

    rows: tuple[Row, ...]
    measures: dict[str, float]
    train_error: float
    test_error: float
    n: int
    n_test: int
    num_parameters: int
    delta: float
    joint: bool

    def __getitem__(self, name: str) -> Row:
        """The row of a name."""
        return {row.name: row for row in self.rows}[name]

    @property
    def gap(self) -> float:
        """Test error less training error."""
        return self.test_error - self.train_error

    @property
    def confidence(self) -> str:
        """With what probability the rows hold, in a sentence."""
        if self.joint:
            return f"All certified rows hold together with probability {1 - len(self.rows) * self.delta:.4g}."
        return f"Each certified row holds with probability {1 - self.delta:.4g} by itself."

    def table(self) -> list[list[str]]:
        """Rows of text, the first of them the head."""
        rows = [["bound", "on the risk of", "value", ""]]
        for row in self.rows:
            rows.append([row.title, row.of, "" if row.refused else shown(row.value), row.refused or row.status])
        return rows

    def __str__(self) -> str:
        """The table, and what it is about."""
        rows = self.table()
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        head = (
            f"{self.num_parameters:,} parameters, {self.n:,} training examples; training error {self.train_error:.4f}, "
            f"test error {self.test_error:.4f} on {self.n_test:,}, gap {self.gap:.4f}"
        )
        lines = [f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}".rstrip() for row in rows]
        return "\n".join([head, "", *lines, "", self.confidence])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with numbers that are not finite as strings."""
        found = dataclasses.asdict(self)
        found["rows"] = [row | {"vacuous": own.vacuous} for row, own in zip(found["rows"], self.rows, strict=True)]
        return _plain(found | {"gap": self.gap})

    def to_json(self) -> str:
        """`to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def to_html(self) -> str:
        """One page that needs no network: a bar chart on a logarithmic scale against the true error, and all rows."""
        from jaxgen.bounds.report.page import page

        return page(self)


def shown(value: float) -> str:
    """A bound with three digits."""
    return f"{value:.3g}" if value >= 1e4 or value < 1e-3 else f"{value:.4f}" if value < 10 else f"{value:.1f}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
