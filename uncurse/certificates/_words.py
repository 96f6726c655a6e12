"""What is said of decision problems: what their interval rests on."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from ..analysis._control import Decision
    from ..analysis._shift import Shift
    from ._base import Bounds

TESTED = "tested only, at random points or to the rounding of second derivatives"


def assumptions(
    decision: "Decision", bounds: "Bounds", m: Float[np.ndarray, " m"], shift: "Shift | None" = None
) -> tuple[str, ...]:
    """What the interval of a control problem rests on, in words.

    m: the modulus in each control.
    shift: how controls shift the noise, where theorem 8b was used.
    """
    words = {"proved": "proved from their traces", "declared": "declared", "tested": TESTED}
    size = f"{m.min():.3g}" if m.min() == m.max() else f"{m.min():.3g} to {m.max():.3g}"
    if shift is not None and bounds.guarantee != "upper_bound":
        return (
            "controls only shift the noise: proved from the traces of drift and volatility",
            f"modulus of the running cost in the controls {size}: {words[shift.modulus.origin]}",
        )
    if shift is not None:
        return ("nothing is proved below, because few paths carry the exponential average",)
    if not decision.provable or bounds.guarantee == "upper_bound":
        why = "controlled states are not affine in the controls" if not decision.affine else (
            "the costs are not convex" if decision.convex is None else "a control has neither modulus nor bounds")
        low = "; costs are never negative, so neither is their least mean" if decision.costs_positive else ""
        return (f"nothing is proved below, because {why}{low}",)
    assert decision.convex is not None
    exogenous = int((~decision.controlled).sum())
    return (
        "controlled states are affine in the controls: proved from their traces"
        + (f", with {exogenous} exogenous states" if exogenous else ""),
        f"costs are convex: {words[decision.convex.origin]}",
        f"modulus in the controls {size}: {words[decision.modulus.origin]}",
    )
