"""What is left of f(u) after its tangent is taken off, where only the variation of f_u is known."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._devices import single
from ..analysis import Variation

Numbers = Float[Array, "*shape"]


class Bending(eqx.Module):
    """Bounds |f(y + e) - f(y) - f_u(y) e| by a convex function of |e|.

    Let f_u change by at most the sum of the jumps J_i of the cells [low_i, high_i] between two points. Then for e > 0

        |f(y + e) - f(y) - f_u(y) e| <= int_0^e |f_u(y + v) - f_u(y)| dv <= sum_i J_i (e - max(low_i - y, 0))^+,

    over the cells with high_i >= y, and alike for e < 0. For a smooth f that is sup |f_uu| e^2 / 2, but for the cell of
    y itself; a kink at k counts where e reaches it.
    """

    low: Float[Array, " cells"]
    high: Float[Array, " cells"]
    jump: Float[Array, " cells"]
    jumps: Float[Array, " ends"]        # sums of J_i over the cells before, from a cell in the middle
    right: Float[Array, " ends"]        # of J_i low_i
    left: Float[Array, " ends"]         # of J_i high_i
    growth: float = eqx.field(static=True)      # L+ = max(sup f_u, 0)

    @staticmethod
    def of(variation: Variation) -> "Bending":
        low, high, jump, slope = variation
        ends = (np.where(np.isfinite(a), a, 0.0) for a in (low, high))      # such an end is never a distance away
        # Sums count from the cell nearest to 0, in float64: from the first cell, far ones would drown the others.
        middle = int(np.clip(np.searchsorted(high, 0.0), 0, len(jump) - 1))

        def before(a: np.ndarray) -> np.ndarray:
            sums = np.concatenate([[0.0], np.cumsum(a)])
            return sums - sums[middle]

        arrays = low, high, jump, before(jump), *(before(jump * end) for end in ends)
        return Bending(*(single(a) for a in arrays), growth=max(slope[1], 0.0))  # type: ignore

    def remainder(self, y: Numbers, e: Numbers) -> Numbers:
        """The larger of the two sums, for errors of size e >= 0 to either side."""
        cells = len(self.jump)
        own = jnp.clip(jnp.searchsorted(self.high, y), 0, cells - 1)
        above = jnp.maximum(jnp.searchsorted(self.low, y + e), own + 1)
        right = (y + e) * (self.jumps[above] - self.jumps[own + 1]) - (self.right[above] - self.right[own + 1])
        below = jnp.minimum(jnp.searchsorted(self.high, y - e, side="right"), own)
        left = (self.left[own] - self.left[below]) - (y - e) * (self.jumps[own] - self.jumps[below])
        return self.jump[own] * e + jnp.maximum(jnp.maximum(right, left), 0.0)
