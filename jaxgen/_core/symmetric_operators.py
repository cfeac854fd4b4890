"""What `lineax` asks of operators that are symmetric and say nothing else of their entries."""

from collections.abc import Callable
from typing import Any

import lineax as lx

NOT_KNOWN = (
    lx.is_diagonal,
    lx.is_tridiagonal,
    lx.has_unit_diagonal,
    lx.is_lower_triangular,
    lx.is_upper_triangular,
    lx.is_negative_semidefinite,
)


def register_symmetric(operator: type, is_positive: Callable[[Any], bool]) -> None:
    """Registers the answers of a class of real symmetric operators; `linearise` and `diagonal` are left to it.

    Args:
        operator: the class.
        is_positive: whether one of them is known to be positive semidefinite.
    """
    lx.materialise.register(operator)(lambda own: lx.materialise(lx.linearise(own)))
    lx.conj.register(operator)(lambda own: own)
    lx.is_symmetric.register(operator)(lambda own: True)
    lx.is_positive_semidefinite.register(operator)(is_positive)
    for query in NOT_KNOWN:
        query.register(operator)(lambda own: False)
