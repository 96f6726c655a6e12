"""Multilevel Picard iteration over frozen noise; nothing is trained."""

import numpy as np
from jaxtyping import Float

from ..statistics import Purpose, host_stream
from ..surrogates import AbstractSurrogate, Picard, Smoothed
from ._base import AbstractMethod, Setting, State
from .smoothing import Smoothing


class MultilevelPicard(AbstractMethod):
    """One Picard level a block, up to `levels`.

    Args:
        levels: 1 or 2 are affordable inside a certificate: every point of every path evaluates the whole iterate.
        samples: M, the base of the sample sizes.
    """

    name = "picard"

    def __init__(self, levels: int = 2, samples: int = 4):
        self.levels, self.samples = levels, samples

    def init(self, setting: Setting, base: AbstractSurrogate | None, y0: Float[np.ndarray, " n"]) -> State:
        smoothed = base if isinstance(base, Smoothed) else Smoothing().smoothed(setting)
        return State(self._iterate(setting, smoothed, 1), 1, self.levels <= 1)

    def step(self, setting: Setting, state: State, y0: Float[np.ndarray, " n"]) -> State:
        assert isinstance(state.surrogate, Picard)
        level = state.round + 1
        return State(self._iterate(setting, state.surrogate.base, level), level, level >= self.levels)

    def _iterate(self, setting: Setting, base: Smoothed, level: int) -> Picard:
        return Picard.of(setting.problem, base, level, self.samples, host_stream(setting.seed, Purpose.frame, 4, level))
