"""The linear baseline: g smoothed over frozen noise; nothing is trained."""

import numpy as np
from jaxtyping import Float

from ..analysis import is_smooth_terminal
from ..statistics import Purpose, host_stream
from ..surrogates import AbstractSurrogate, Smoothed
from ._base import AbstractMethod, Setting, State


class Smoothing(AbstractMethod):
    """uhat = mean of g(X_T) over J antithetic pairs of frozen normals.

    Args:
        pairs: J; by default 4 where g is smooth, and 32 where its trace shows a kink, since the gradient of max or min
            is carried by few coordinates of each sample.
    """

    name = "smoothing"

    def __init__(self, pairs: int | None = None):
        self.pairs = pairs

    def init(self, setting: Setting, base: AbstractSurrogate | None, y0: Float[np.ndarray, " n"]) -> State:
        pairs = self.pairs or (4 if is_smooth_terminal(setting.problem) else 32)
        surrogate = Smoothed.of(setting.problem, pairs, host_stream(setting.seed, Purpose.frame))
        return State(surrogate, 0, True)

    def step(self, setting: Setting, state: State, y0: Float[np.ndarray, " n"]) -> State:
        return state
