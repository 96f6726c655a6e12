"""Theorem 4: f nonlinear and smooth in u, affine in the gradient with constant slopes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .._solution import Guarantee
from ..analysis import Source
from ..statistics import Moments
from ._base import AbstractCertificate, Bounds, PerPath, PerPoint, growth_integral, stack, unbounded, upper_mean
from ._paths import Columns
from .linear import constant_slopes


@dataclass(frozen=True)
class Value(AbstractCertificate):
    """Let f_u <= L and |f_uu| <= C over the range of u (f continued affinely outside it, which does not change u), and
    let df/dz be constant. Newton's linearisation at yhat gives u = E[S] + E int Gamma q ds with

        |E int Gamma q ds| <= C/2 int Gamma |e_s|_2^2 ds + int Gamma |c_s - c_k|_2 |e_s|_2 ds,
        |e_s|_2 <= exp(L+ (T - s)) (|A|_2 + sqrt(T) |residual of yhat|_2),

    where L+ = max(L, 0) and A = g(X_T) - yhat_T: the error is second order in the surrogate's, and c_s - c_k is the
    change of f_u(yhat) along a step. Proof: f(Y) - f(yhat) = a e + ... with a <= L; Gronwall for |e|; Taylor for q.

    If f is convex in u, moreover u >= E[S] - (the second part), and <= for f concave.

    Guarantee: two_sided with L, C and the range declared or proved.
    """

    horizon: float
    slope: float            # L
    curvature: float        # C
    shape: str | None

    @staticmethod
    def of(source: Source, horizon: float) -> "Value | None":
        if not source.affine_in_gradient or source.slope is None or source.curvature is None:
            return None
        if source.value_range is not None and source.extension is None:
            return None         # the constants are known over the range of u only, and yhat may leave it
        low, high = source.slope.value
        assumptions = [
            *source.range_words,
            f"df/du lies in [{low:.4g}, {high:.4g}]: {source.slope.origin}",
            f"|d2f/du2| is at most {source.curvature.value:.4g}: {source.curvature.origin}",
        ]
        shape = None if source.shape is None else source.shape.value
        return Value(tuple(assumptions), horizon, float(high), float(source.curvature.value), shape)

    def columns(self, paths: Columns[PerPath], y0: PerPoint) -> Float[np.ndarray, "n paths k"]:
        return stack(paths.total, paths.mismatch2, paths.residual2, paths.slope_u2, paths.slope_z2)

    def bounds(self, moments: Moments, y0: PerPoint, z: float) -> Bounds:
        value, sampling = moments.mean[:, 0], z * moments.error[:, 0]
        if not constant_slopes(moments, self.horizon, 4):
            return unbounded(value, sampling)
        mismatch2, residual2, slope_u2 = (upper_mean(moments, k, z) for k in (1, 2, 3))
        rate = max(self.slope, 0.0)
        a = np.sqrt(mismatch2) + np.sqrt(self.horizon * residual2)
        with np.errstate(over="ignore", invalid="ignore"):      # a factor beyond float64 says nothing: infinite
            growth, weight = growth_integral(rate, self.horizon, 2.0), np.exp(rate * self.horizon)
            second_order = self.curvature / 2 * a**2 * growth
            step = weight * np.sqrt(slope_u2) * a * np.sqrt(growth * weight)
        second_order, step = (np.where(np.isnan(part), np.inf, part) for part in (second_order, step))
        half = sampling + second_order + step
        low, high = value - half, value + half
        if self.shape == "convex":
            low = value - sampling - step
        if self.shape == "concave":
            high = value + sampling + step
        budget = {"sampling": sampling, "linearisation": second_order, "time step": step}
        return Bounds(value, low, high, budget, Guarantee.two_sided)
