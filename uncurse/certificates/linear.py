"""Theorem 1: f affine in (u, grad)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .._solution import Guarantee
from ..analysis import Source
from ..statistics import Moments
from ._base import AbstractCertificate, Bounds, PerPoint, stack, upper_mean
from ._paths import Columns

ROUNDING = 1e-9     # of int |slope change|^2 ds, a pure number: slopes that differ by less are equal to float32


@dataclass(frozen=True)
class Linear(AbstractCertificate):
    """If f(t, x, u, grad) = c u + b . grad + h(t, x), with c and the chart form of b constant, then

        u(t, x) = E[S],

    for any surrogate (the remainder q of `_paths` vanishes), without time-discretisation bias where X is sampled exactly.

    Where c or b vary with (t, x), the slopes frozen at the start of a step differ from the true ones along it, and

        |u - E S| <= Gamma |c_s - c_k|_2 |e|_2 + Gamma |beta_s - beta_k|_2 |zeta|_2,

    with norms in L2(ds x P), |e_s|_2 <= exp(L (T - s)) |A|_2 and |zeta|_2^2 <= (1 + 2 L T exp(2 L T)) |A|_2^2, L >= c. Those
    norms are measured; L is the largest growth seen. Assumes second moments.

    Guarantee: unbiased where the slopes were found constant on every path, else estimate.
    """

    horizon: float

    @staticmethod
    def of(source: Source, horizon: float) -> "Linear | None":
        if not source.affine:
            return None
        return Linear(("the source is affine in (u, grad): proved from its trace",), horizon)

    def columns(self, paths: Columns, y0: PerPoint) -> Float[np.ndarray, "n paths k"]:
        rate = np.maximum(paths.growth, 0.0)
        return stack(paths.total, paths.mismatch2, paths.slope_u2, paths.slope_z2, rate)

    def bounds(self, moments: Moments, y0: PerPoint, z: float) -> Bounds:
        value = moments.mean[:, 0]
        sampling = z * moments.error[:, 0]
        mismatch2, slope_u2, slope_z2, rate = (upper_mean(moments, k, z) for k in range(1, 5))
        constant = bool((self.horizon * slope_u2 < ROUNDING).all() and (self.horizon * slope_z2 < ROUNDING).all())
        grown = np.exp(2 * rate)
        e = np.sqrt(self.horizon * mismatch2 * grown)
        zeta = np.sqrt(mismatch2 * (1 + 2 * rate * grown))
        step = np.zeros_like(value) if constant else np.exp(rate) * (np.sqrt(slope_u2) * e + np.sqrt(slope_z2) * zeta)
        half = sampling + step
        budget = {"sampling": sampling, "linearisation": np.zeros_like(value), "time step": step}
        guarantee = Guarantee.unbiased if constant else Guarantee.estimate
        return Bounds(value, value - half, value + half, budget, guarantee)
