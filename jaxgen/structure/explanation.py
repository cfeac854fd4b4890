"""What an analysis found, for people."""

from typing import NamedTuple


class Way(NamedTuple):
    """How the per-example gradients of one parameter leaf come about.

    Attributes:
        leaf: its path.
        way: `"factors"` of activations and cotangents; `"pulled back"` from gradients of what is made of it; `"per example"`,
            differentiated by itself; or `"unused"`.
        why: what it enters.
        floats: numbers held for it, beside the activations.
    """

    leaf: str
    way: str
    why: str
    floats: int


class Explanation(NamedTuple):
    """The way of every leaf; printed as a table.

    Attributes:
        num_examples: N.
        leaves: the ways, in the order of the parameters.
        positional: whether the function has entries of its own for every place in the batch, so that examples cannot be
            taken in chunks or alone.
        note: why no structure was used, or "".
    """

    num_examples: int
    leaves: tuple[Way, ...]
    positional: bool
    note: str

    def __str__(self) -> str:
        width = max([4, *(len(way.leaf) for way in self.leaves)])
        lines = [f"{'leaf':{width}}  {'way':12}{'floats held':>12}  enters"]
        lines += [f"{way.leaf:{width}}  {way.way:12}{way.floats:12,}  {way.why}" for way in self.leaves]
        if self.note:
            lines.append(self.note)
        return "\n".join(lines)
