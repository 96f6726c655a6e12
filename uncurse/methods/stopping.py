"""Random features for the value of going on, by least squares at each date."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from ..surrogates import Continuation, Nodes, Summary
from ._backward import AbstractBackward, least_squares


@dataclass(frozen=True)
class Backward(AbstractBackward):
    """Linear least squares at each date (Longstaff and Schwartz 2001), on features drawn once.

    Args:
        features: random features.
        paths: on which the regression is made.
        points: of the net that integrates over one step.
    """

    features: int = 256
    paths: int = 16384
    points: int = 16

    name: ClassVar[str] = "features"

    def __str__(self) -> str:
        return f"{self.features} features"

    @property
    def size(self) -> int:
        return self.features

    def draft(
        self, nodes: Nodes, summary: Summary, scale: float, least: float, rng: np.random.Generator
    ) -> Continuation:
        return Continuation.of(nodes, summary, scale, least, rng, self.features)

    def regress(
        self, surrogate: Continuation, k: int, x: Float[np.ndarray, "n d"], target: Float[np.ndarray, " n"], rows: int
    ) -> Continuation:
        return least_squares(surrogate, k, x, target, rows)
