"""What one call of solve asks for: points, tolerance, confidence, seed, limit of time; with its clock and progress."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from ._clock import Clock
from ._solution import Timing
from .statistics import half_width_factor


@dataclass
class Request:
    """One call of solve, apart from the problem."""

    points: Float[np.ndarray, "n d"]
    one_point: bool                     # asked for as (d,): the answer has no axis of points
    tolerance: tuple[float, float]      # rtol, atol
    confidence: float
    seed: int
    limit: float                        # seconds; inf without one
    method: Any                         # as the user gave it
    clock: Clock = field(default_factory=Clock)
    progress: Any = None

    @property
    def z(self) -> float:
        """Standard errors of a two-sided interval."""
        return half_width_factor(self.confidence)

    @property
    def left(self) -> float:
        """Seconds until the limit."""
        return self.limit - self.clock.elapsed

    @property
    def timing(self) -> Timing:
        """Seconds spent so far."""
        spent = self.clock.spent
        return Timing(self.clock.elapsed, self.clock.compile, spent.get("train", 0.0), spent.get("certify", 0.0))

    def show(
        self, low: Float[np.ndarray, " n"], high: Float[np.ndarray, " n"], fraction: float | None, note: str = ""
    ) -> None:
        """The widest interval so far, and which part of the stage is done, where that is known."""
        worst = int(np.argmax(high - low))
        self.progress.update(fraction, float(low[worst]), float(high[worst]), note)

    def shaped(self, a: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "..."]:
        """Shaped like the points asked for."""
        return a[0] if self.one_point else a
