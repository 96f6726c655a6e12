"""A surrogate with what pilot paths say of it: what the loop compares."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .certificates import Offer
from .methods import AbstractMethod, Setting, State
from .surrogates import AbstractSurrogate

PerPoint = Float[np.ndarray, " n"]

PROMISING = 10.0            # times the tolerance: a proved bias below which training may bring the proof there


@dataclass
class Proposal:
    """A surrogate with what pilot paths say it would cost to certify."""

    method: AbstractMethod
    state: State
    setting: Setting
    y0: PerPoint
    offer: Offer
    rate: float                 # seconds a path
    seconds: float              # predicted for the certificate; inf where no number of paths will do
    spare: float                # of these, what a perfect surrogate would save: the smallest sample has its price too
    variance: float             # relative scatter of S, the worst point's or that of many: what training reduces
    proved_bias: float          # of the best proved certificate, over the tolerance
    felt: PerPoint              # scatter of g and f on the paths: what rounding acts on

    @property
    def surrogate(self) -> AbstractSurrogate:
        return self.state.surrogate

    @property
    def promising(self) -> bool:
        """A proved certificate does not reach the tolerance yet, but training may bring it there."""
        return not self.offer.proved and self.proved_bias < PROMISING

    @property
    def rank(self) -> tuple[float, ...]:
        """Lower is better: proved before promising before estimated, then by what is still to be done."""
        if self.offer.proved and np.isfinite(self.seconds):
            return (0.0, self.seconds, self.variance)
        if self.promising:
            return (1.0, self.proved_bias, self.variance)
        return (2.0, self.seconds, self.offer.bias, self.variance)
