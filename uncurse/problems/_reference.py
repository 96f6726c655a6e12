"""A known value, where it comes from and how many of its digits hold."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class Reference:
    """A value of u at t = 0 and one point.

    Args:
        value: the number.
        origin: the formula or computation it comes from.
        digits: significant digits that hold; 0 where the value is only indicative.
        error: half-width of what is known, in units of u; 0 for a formula evaluated to machine precision.
        at: the point (d,); None where it goes without saying.
    """

    value: float
    origin: str
    digits: int
    error: float = 0.0
    at: Float[np.ndarray, " d"] | None = field(default=None, repr=False)

    def holds_at(self, points: Float[np.ndarray, "*points d"]) -> bool:
        """Whether this is the value at the points asked for."""
        return self.at is None or bool(np.array_equal(np.broadcast_to(self.at, points.shape), points))
