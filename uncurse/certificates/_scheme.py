"""How paths are stepped: into how many parts, and what is watched on the way."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..analysis import Source
from ..processes import AbstractProcess

STEPS = 10          # few steps cost variance, not bias ...
SHARP = 8           # ... and little of that where they see second derivatives and X is sampled exactly
GRADING = 2.0       # of the steps where g has a kink, or where few long steps do for all but the end


@dataclass(frozen=True)
class Scheme:
    """How paths are stepped; hashable, since each combination is compiled once.

    steps: N. random_time: f is sampled at a random time of each step. second_order: zhat follows the noise inside a
    step, by the surrogate's Hessian; where g has a kink, that of a mean over frozen noise is worth nothing. track: the
    slopes may vary along a step, so their variation is measured; only with random times. tilted: f depends on the
    gradient, so X runs under an extra drift. strength: f = -(strength / 2) |z|^2 plus an affine function of grad, and
    the drift follows the surrogate inside a step (`_twist`); 0: it does not. grading: steps shrink towards T,
    t_k = T (1 - (1 - k/N)^grading), since near kinks and peaks of g the gradient moves fastest there.
    """

    steps: int
    random_time: bool
    second_order: bool
    track: bool
    tilted: bool = True
    strength: float = 0.0
    grading: float = 1.0

    @property
    def grid(self) -> Float[np.ndarray, " times"]:
        """t_0, ..., t_N over T."""
        return 1 - (1 - np.arange(self.steps + 1) / self.steps) ** self.grading

    @property
    def shares(self) -> Float[np.ndarray, " steps"]:
        """Lengths of the steps over T."""
        return np.diff(self.grid)

    @staticmethod
    def of(source: Source, process: AbstractProcess, steps: int) -> "Scheme":
        frozen = not (source.uses_point or source.uses_value or (source.uses_gradient and not process.flat))
        constant = source.affine and not source.uses_point and (process.flat or not source.uses_gradient)
        track = not frozen and not constant
        follows = frozen and source.quadratic is not None and process.exact and process.normals == process.noise_dim
        strength = -2 * source.quadratic if follows and source.quadratic is not None else 0.0
        second_order = source.affine_in_gradient and source.smooth_terminal
        return Scheme(steps, not frozen, second_order, track, source.uses_gradient, strength,
                      GRADING if process.exact and (strength or not source.smooth_terminal) else 1.0)  # fmt: skip

    @property
    def sharp(self) -> bool:
        """Whether steps see second derivatives."""
        return self.second_order and not self.strength
