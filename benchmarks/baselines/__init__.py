"""Published methods in our own code, as baselines: each acts on any `ParabolicPDE` and gives a value at a budget.

A module has `BUDGETS`, what its budget counts, and

    solve(problem, at, budget, seed=0, deadline=never) -> Outcome

The settings are those of the papers, not tuned for this study. None of these methods gives an interval for u.
"""

from types import ModuleType

from . import deep_bsde, linearised_mc, multilevel_picard
from ._common import Outcome as Outcome

METHODS: dict[str, ModuleType] = {
    "linearised-mc": linearised_mc,
    "multilevel-picard": multilevel_picard,
    "deep-bsde": deep_bsde,
}
