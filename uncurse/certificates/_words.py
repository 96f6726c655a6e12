"""What is said of decision problems: what their interval rests on."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from ..analysis._control import Decision
    from ._base import Bounds


def assumptions(
    decision: "Decision", bounds: "Bounds", m: Float[np.ndarray, " m"]
) -> tuple[str, ...]:
    """What the interval of a control problem rests on, in words.

    m: the modulus in each control.
    """
    if not decision.provable or bounds.guarantee == "upper_bound":
        why = "controlled states are not affine in the controls" if not decision.affine else (
            "the costs are not convex" if decision.convex is None else "a control has neither modulus nor bounds")
        low = "; costs are never negative, so neither is their least mean" if decision.costs_positive else ""
        return (f"nothing is proved below, because {why}{low}",)
    assert decision.convex is not None
    words = {"proved": "proved from their traces", "declared": "declared", "tested": "tested at random points only"}
    size = f"{m.min():.3g}" if m.min() == m.max() else f"{m.min():.3g} to {m.max():.3g}"
    exogenous = int((~decision.controlled).sum())
    return (
        "controlled states are affine in the controls: proved from their traces"
        + (f", with {exogenous} exogenous states" if exogenous else ""),
        f"costs are convex: {words[decision.convex.origin]}",
        f"modulus in the controls {size}: {words[decision.modulus.origin]}",
    )
