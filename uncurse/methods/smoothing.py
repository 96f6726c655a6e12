"""The closed-form baseline: g smoothed over frozen noise, then carried along f; nothing is trained."""

import numpy as np
from jaxtyping import Float

from ..statistics import Purpose, host_stream
from ..surrogates import AbstractSurrogate, Flowed, Smoothed
from ._base import AbstractMethod, Setting, State

MILD = 2.0      # of |df/du| T


class Smoothing(AbstractMethod):
    """uhat = mean of g(X_T) over J antithetic pairs of frozen normals; for a smooth f(t, x, u), carried along y' = f.

    Args:
        pairs: J; by default 4 where g is smooth, and 32 where its trace shows a kink, since the gradient of max or min
            is carried by few coordinates of each sample.
    """

    name = "smoothing"

    def __init__(self, pairs: int | None = None):
        self.pairs = pairs

    def init(self, setting: Setting, base: AbstractSurrogate | None, y0: Float[np.ndarray, " n"]) -> State:
        smoothed = self.smoothed(setting)
        return State(Flowed.of(setting.problem, smoothed) if _mild(setting) else smoothed, 0, True)

    def step(self, setting: Setting, state: State, y0: Float[np.ndarray, " n"]) -> State:
        return state

    def smoothed(self, setting: Setting) -> Smoothed:
        """The answer to the equation without f."""
        pairs = self.pairs or (4 if setting.source.smooth_terminal else 32)
        return Smoothed.of(setting.problem, pairs, host_stream(setting.seed, Purpose.frame))


def _mild(setting: Setting) -> bool:
    """Whether f = f(t, x, u) is smooth and moves u by a factor of order one."""
    source = setting.source
    if not source.uses_value or source.uses_gradient or not source.smooth or source.slope is None:
        return False
    return max(abs(s) for s in source.slope.value) * setting.problem.horizon < MILD
