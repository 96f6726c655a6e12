"""Theorem 4 for an f with kinks in u: affine in the gradient with constant slopes, df/du a function of u alone."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .._solution import Guarantee
from ..analysis import Source
from ..statistics import Moments
from ._base import AbstractCertificate, Bounds, PerPath, PerPoint, stack, unbounded, upper_mean
from ._paths import Columns
from .linear import constant_slopes


@dataclass(frozen=True)
class Kinked(AbstractCertificate):
    """Let |f(y + e) - f(y) - f_u(y) e| <= B(y, |e|) with B convex and increasing in |e| (`Bending`), f_u in [l, L], and
    df/dz constant. With V = int (c_s - c_k) ds, where c_s = f_u(yhat_s) and c_k is its value at the start of the step,

        |u - E[S + Gamma_T A V]| <= G E int B(yhat_s, exp(L+ (T - s)) |A|) ds
                                    + G^2 D E[|A| int |c_s - c_k| (T - s) ds] + G D P (1 + G (1 + D T)),

    A = g(X_T) - yhat_T, L+ = max(L, 0), G = exp(L+ T), D = L - l, and P = (T (exp(M h) - 1) + 2 h) E int |residual of
    yhat| ds for steps of length h, M = max |f_u|. Proof: |e_s| <= exp(L+ (T - s)) E[|A| | F_s] up to residuals, and B
    is convex (Jensen), so a kink counts only on paths whose mismatch reaches it. docs/certificates.md, section 4b.

    Guarantee: two_sided, second order in the surrogate's error.
    """

    horizon: float
    step: float
    slope: tuple[float, float]

    @staticmethod
    def of(source: Source, horizon: float, step: float) -> "Kinked | None":
        if source.variation is None or (source.value_range is not None and source.extension is None):
            return None
        low, high = source.variation.value.slope
        words = f"df/du depends on u alone and lies in [{low:.4g}, {high:.4g}]: proved from its trace"
        return Kinked((*source.range_words, words), horizon, step, (low, high))

    def columns(self, paths: Columns[PerPath], y0: PerPoint) -> Float[np.ndarray, "n paths k"]:
        total = np.asarray(paths.total, dtype=np.float64) + paths.swing
        return stack(total, paths.bent, paths.sway, paths.residual, paths.slope_z2)

    def bounds(self, moments: Moments, y0: PerPoint, z: float) -> Bounds:
        value, sampling = moments.mean[:, 0], z * moments.error[:, 0]
        if not constant_slopes(moments, self.horizon, 4):
            return unbounded(value, sampling)
        bent, sway, residual = (upper_mean(moments, k, z) for k in (1, 2, 3))
        (least, most), t = self.slope, self.horizon
        spread, size = most - least, max(abs(least), abs(most))
        with np.errstate(over="ignore", invalid="ignore"):      # a factor beyond float64 says nothing: infinite
            growth = np.exp(max(most, 0.0) * t)
            within = (t * np.expm1(size * self.step) + 2 * self.step) * residual
            bend = growth * bent + growth**2 * spread * sway
            step = growth * spread * within * (1 + growth * (1 + spread * t))
        bend, step = (np.where(np.isnan(part), np.inf, part) for part in (bend, step))
        half = sampling + bend + step
        budget = {"sampling": sampling, "linearisation": bend, "time step": step}
        return Bounds(value, value - half, value + half, budget, Guarantee.two_sided)
