"""Claims, and the register that holds them by the id of the statement they check."""

import contextlib
import dataclasses
import difflib
import fnmatch
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
from jaxtyping import Array, Key

from jaxgen._core.checks import choice, positive_integer, require
from jaxgen.claims._check import Check

Body = Callable[..., Check | dict[str, Check]]

ID = re.compile(r"(?P<entry>[A-Z]+-[0-9]+)([a-z]|\.[a-z0-9-]+)?")


@dataclasses.dataclass(frozen=True)
class Control:
    """The same check with an assumption dropped, which must fail.

    Attributes:
        name: what was dropped or misprinted.
        body: function of the claim's signature.
        fails: `"every"` seed or `"some"` seed (deterministic checks); a statistical check must be rejected in either case.
    """

    name: str
    body: Body
    fails: str


@dataclasses.dataclass(eq=False)
class Claim:
    """A theorem as an executable statement; made by `claim`. Calling it evaluates its body on a key.

    Attributes:
        id: entry of the specification, with an optional suffix where an entry has several claims.
        title: one line.
        source: where the statement comes from.
        statement: LaTeX; whole a formula, or prose with formulas between dollar signs.
        body: function of a key to a check or a dictionary of checks.
        core: whether a run without `--full` includes it.
        num_seeds: number of seeds, unless the run gives another one.
        min_seeds: number of seeds below which a run does not go.
        max_seeds: number of seeds above which a run does not go, or None.
        statistical: whether its checks are statements over seeds, judged by a test.
        jittable: whether the body can be compiled and mapped over seeds.
        chunk_size: number of seeds mapped at a time, which bounds memory; None for all.
        budget: expected seconds on one core with an empty compilation cache; the slowest claims start first.
        controls: see `Control`.
        draw: function of a key to a matplotlib figure, or None.
    """

    id: str
    title: str
    source: str
    statement: str
    body: Body
    core: bool
    num_seeds: int
    min_seeds: int
    max_seeds: int | None
    statistical: bool
    jittable: bool
    chunk_size: int | None
    budget: float
    controls: list[Control] = dataclasses.field(default_factory=list)
    draw: Callable[[Key[Array, ""]], Any] | None = None

    def __call__(self, key: Key[Array, ""]) -> Check | dict[str, Check]:
        return self.body(key)

    @property
    def entry(self) -> str:
        """Id of the specification's entry, without a suffix."""
        match = ID.fullmatch(self.id)
        assert match is not None
        return match["entry"]

    def seeds_of_run(self, num_seeds: int | None = None) -> int:
        """How many seeds a run takes that was asked for `num_seeds`."""
        if num_seeds is None:
            return self.num_seeds
        wanted = max(positive_integer("num_seeds", num_seeds), self.min_seeds)
        return wanted if self.max_seeds is None else min(wanted, self.max_seeds)

    def check(self, key: Key[Array, ""]) -> Check | dict[str, Check]:
        """The body on one key, in float64 whatever the process computes in."""
        with jax.enable_x64(True):
            return self.body(key)

    def control(self, name: str, *, fails: str = "every") -> Callable[[Body], Body]:
        """Registers a function of the body's signature as the control `name`.

        Args:
            name: what was dropped or misprinted; unique within the claim.
            fails: `"every"` or `"some"`: on which seeds at least one of its checks must fail. A statistical check must be
                rejected at the level of the run in either case. A NaN is no failure.

        Raises:
            ValueError: if `name` is taken or empty, or `fails` is unknown.
        """
        choice("fails", fails, ("every", "some"))
        require(bool(name.strip()), f"{self.id}: a control needs a name")
        require(name not in [control.name for control in self.controls], f"{self.id} has a control named {name!r} already")

        def register(body: Body) -> Body:
            self.controls.append(Control(name, body, fails))
            return body

        return register

    def figure(self, draw: Callable[[Key[Array, ""]], Any]) -> Callable[[Key[Array, ""]], Any]:
        """Registers a function of a key to a matplotlib figure, which `--html` shows."""
        self.draw = draw
        return draw

    def keys(self, num_seeds: int | None = None, *, seed: int = 0) -> Key[Array, " S"]:
        """The keys of a run: a function of the id and of `seed` alone; more seeds extend fewer."""
        digest = hashlib.sha256(f"{self.id}/{seed}".encode()).digest()
        return jax.random.split(jax.random.key(int.from_bytes(digest[:4], "big") >> 1), num_seeds or self.num_seeds)


@dataclasses.dataclass(frozen=True)
class NotAClaim:
    """An entry of the specification that no number can confirm or refute.

    Attributes:
        id: entry of the specification.
        title: one line.
        reason: why it cannot be a claim, one sentence.
    """

    id: str
    title: str
    reason: str


@dataclasses.dataclass
class Registry:
    """Claims and entries that cannot be claims, by id.

    Attributes:
        claims: claims by id.
        not_claims: entries that cannot be claims, by id.
    """

    claims: dict[str, Claim] = dataclasses.field(default_factory=dict)
    not_claims: dict[str, NotAClaim] = dataclasses.field(default_factory=dict)

    def add(self, item: Claim | NotAClaim) -> None:
        """Adds an item; an id that is taken is refused, except by the same function run again in a notebook."""
        known = self.claims.get(item.id) or self.not_claims.get(item.id)
        again = isinstance(known, Claim) and isinstance(item, Claim) and _same_notebook_function(known.body, item.body)
        require(known is None or again, f"the claim id {item.id} is taken already, by {known and known.title!r}")
        if isinstance(item, Claim):
            self.claims[item.id] = item
        else:
            self.not_claims[item.id] = item

    def ordered(self) -> list[Claim | NotAClaim]:
        """Everything, by chapter, number and suffix."""
        return sorted([*self.claims.values(), *self.not_claims.values()], key=lambda item: _order(item.id))

    def select(self, only: Iterable[str] = (), *, full: bool = False) -> list[Claim]:
        """Claims to run.

        Args:
            only: ids, ids of entries (all claims of the entry), or patterns with `*`, `?`, `[...]`; letters of either case. Empty for all.
            full: whether claims outside of the core set are included. A claim that `only` names without a pattern always is.

        Raises:
            ValueError: if a member of `only` matches nothing; the message suggests the nearest ids.
        """
        claims = [item for item in self.ordered() if isinstance(item, Claim)]
        only = list(only)
        if not only:
            return [claim for claim in claims if full or claim.core]
        chosen = {claim.id for name in only for claim in self._matching(name, claims, full)}
        return [claim for claim in claims if claim.id in chosen]

    def _matching(self, name: str, claims: list[Claim], full: bool) -> list[Claim]:
        wanted = name.casefold()
        if exact := [claim for claim in claims if wanted in (claim.id.casefold(), claim.entry.casefold())]:
            return exact
        for item in self.not_claims.values():
            require(item.id.casefold() != wanted, f"{item.id} ({item.title}) is no numerical claim: {item.reason}")
        if found := [claim for claim in claims if fnmatch.fnmatchcase(claim.id.casefold(), wanted)]:
            if inside := [claim for claim in found if full or claim.core]:
                return inside
            raise ValueError(f"no claim of the core set matches {name!r}; with --full, {len(found)} do")
        ids = {claim.id.casefold(): claim.id for claim in claims}
        near = [ids[match] for match in difflib.get_close_matches(wanted, ids, n=3, cutoff=0.5)]
        hint = f"; did you mean {', '.join(near)}?" if near else "; `jaxgen verify --list` shows all"
        raise ValueError(f"unknown claim {name!r}{hint}")


_current = Registry()


def current() -> Registry:
    """The register that `claim` and `not_a_claim` add to."""
    return _current


@contextlib.contextmanager
def isolated() -> Iterator[Registry]:
    """An empty register in place of the current one, for claims that should not outlive the block."""
    global _current  # noqa: PLW0603
    outer, _current = _current, Registry()
    try:
        yield _current
    finally:
        _current = outer


def claim(
    id: str,
    *,
    title: str,
    source: str,
    statement: str,
    core: bool = False,
    num_seeds: int | None = None,
    min_seeds: int | None = None,
    max_seeds: int | None = None,
    statistical: bool = False,
    jittable: bool = True,
    chunk_size: int | None = None,
    budget: float = 2.0,
) -> Callable[[Body], Claim]:
    """Makes a function of a key the claim `id`.

    The body draws a problem from its key, computes both sides with public functions, and returns a relation between them
    (`equal`, `at_most`, ...) or a dictionary of relations, all of which must hold.

    Args:
        id: entry of the specification, `INFO-26`; where an entry has several claims, with a suffix: `INFO-26b` or `INFO-26.equality`.
        title: one line.
        source: paper and theorem, or document and section.
        statement: LaTeX; whole a formula, or prose with formulas between dollar signs.
        core: whether a run without `--full` includes it.
        num_seeds: number of seeds; default 16, or 64 for a statistical claim.
        min_seeds: number below which `--seeds` does not take it; default 1, or 8 for a statistical claim.
        max_seeds: number above which `--seeds` does not take it: an experiment that trains many seeds itself; default none.
        statistical: must be given where the body returns statistical relations, which the run judges over all seeds.
        jittable: whether the body can be compiled and mapped over seeds; otherwise it is called seed by seed.
        chunk_size: number of seeds mapped at a time, which bounds memory; default all.
        budget: expected seconds on one core with an empty compilation cache, for the order of work.

    Returns:
        A decorator that returns a `Claim`; controls are added by its method `control`, of which it needs at least one.

    Raises:
        ValueError: if the id is malformed or taken, a text is empty, or a number is not positive.
    """
    require(ID.fullmatch(id) is not None, f"a claim id is like INFO-26, INFO-26b or INFO-26.equality; got {id!r}")
    for name, text in {"title": title, "source": source, "statement": statement}.items():
        require(bool(text.strip()), f"{id}: {name} must not be empty")
    least = positive_integer("min_seeds", (8 if statistical else 1) if min_seeds is None else min_seeds)
    seeds = positive_integer("num_seeds", max(least, 64 if statistical else 16) if num_seeds is None else num_seeds)
    require(not statistical or least >= 2, f"{id}: a statistical claim needs min_seeds of at least 2; got {least}")
    require(seeds >= least, f"{id}: num_seeds must be at least min_seeds = {least}; got {seeds}")
    most = None if max_seeds is None else positive_integer("max_seeds", max_seeds, at_least=seeds)
    chunk = None if chunk_size is None else positive_integer("chunk_size", chunk_size)
    require(budget > 0, f"{id}: budget must be positive; got {budget}")

    def register(body: Body) -> Claim:
        made = Claim(id, title, source, statement, body, core, seeds, least, most, statistical, jittable, chunk, float(budget))
        made.__doc__ = body.__doc__
        current().add(made)
        return made

    return register


def not_a_claim(id: str, *, title: str, reason: str) -> NotAClaim:
    """Registers an entry of the specification that cannot be a numerical claim, with the reason that `--list` shows.

    Args:
        id: entry of the specification.
        title: one line.
        reason: why it cannot be a claim, one sentence.

    Returns:
        What was registered.

    Raises:
        ValueError: if the id is malformed or taken, or a text is empty.
    """
    require(ID.fullmatch(id) is not None, f"a claim id is like INFO-26; got {id!r}")
    require(bool(title.strip()) and bool(reason.strip()), f"{id}: title and reason must not be empty")
    item = NotAClaim(id, title, reason)
    current().add(item)
    return item


def _same_notebook_function(known: Body, new: Body) -> bool:
    return known.__module__ == new.__module__ == "__main__" and known.__qualname__ == new.__qualname__


def _order(id: str) -> tuple[str, int, str]:
    prefix, rest = id.split("-", 1)
    digits = re.match("[0-9]+", rest)
    assert digits is not None
    return prefix, int(digits[0]), rest[digits.end() :]
