"""Theorem 3, sharpened: f Lipschitz, with kinks along few fixed combinations of the gradient."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..analysis import Source
from ..statistics import Moments
from ._base import AbstractPairCertificate, Bounds, PerPath, PerPoint, upper_mean
from ._paths import Columns
from .lipschitz import Lipschitz


@dataclass(frozen=True)
class Directional(AbstractPairCertificate):
    """Let df/dz vary in a fixed space V of noise directions only. Then, in the bound of `Lipschitz`,

        sqrt(exp(dz^2 T) - 1) |B|_2    becomes    sqrt(exp(dz^2 T) - 1) (E (B - B')^2 / 2)^(1/2),    B = Gamma_T A,

    where B' is B on the twin path: the same noise, but for fresh one along V. Where errors are spread over all d
    directions this is smaller by about sqrt(d / dim V).

    Proof: u - E S = E[D (Psi - 1) B] + E[(D - 1) B], with D - 1 = int D (b - beta) . dW and b - beta in V. So D - 1 is
    orthogonal to every function of the noise outside V (that noise is independent of the noise in V, and a stochastic
    integral over the latter has mean 0 given the former). Hence E[(D - 1) B] = E[(D - 1)(B - E[B | noise outside V])],
    and E Var(B | noise outside V) = E (B - B')^2 / 2 (pick-freeze, Sobol' 1993). The rest is as in `Lipschitz`.

    Guarantee: two_sided, first order in the surrogate's error along V.
    """

    inner: Lipschitz

    @staticmethod
    def of(source: Source, inner: Lipschitz) -> "Directional | None":
        if source.directions is None:
            return None
        k = len(source.directions.value)
        words = f"df/dz varies in a fixed space of dimension {k}: {source.directions.origin}, seen at random points"
        return Directional((*inner.assumptions, words), inner)

    def pair_columns(
        self, paths: Columns[PerPath], coupled: Columns[PerPath], y0: PerPoint
    ) -> Float[np.ndarray, "n paths k"]:
        here, there = (np.exp(p.log_gamma) * np.asarray(p.mismatch, dtype=np.float64) for p in (paths, coupled))
        return np.concatenate([self.inner.columns(paths, y0), (here - there)[..., None] ** 2 / 2], axis=-1)

    def bounds(self, moments: Moments, y0: PerPoint, z: float) -> Bounds:
        return self.inner.interval(moments, z, upper_mean(moments, -1, z))
