"""Theorem 3: f Lipschitz in u and in the gradient, kinks allowed."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .._solution import Guarantee
from ..analysis import Source
from ..statistics import Moments
from ._base import AbstractCertificate, Bounds, PerPath, PerPoint, stack, unbounded, upper_mean
from ._paths import Columns
from .linear import ROUNDING, constant_slopes


@dataclass(frozen=True)
class Lipschitz(AbstractCertificate):
    """Let every value of df/du lie in an interval of length du, and any two values of df/dz be at most dz apart. Then

        |u - E S| <= |S - y0|_2 (exp(dz^2 T/2) (exp(du T) - 1) + sqrt(exp(dz^2 T) - 1)) + Gamma exp(du T) r,

    with r = 2 (T int E |residual of yhat|^2)^(1/2) (exp(du T) - 1).

    Proof: f(Y, Z) - f(yhat, zhat) = a e + b . zeta with adapted a, b in those sets, so e_0 = E^b[exp(int a) A + ...]
    = E[D exp(int (a - c)) (S - y0)] up to r, where D is the density of the measure with drift b against the one
    simulated; E D^2 <= exp(dz^2 T). The Cauchy-Schwarz inequality gives the rest; no exponential moment is needed.

    f convex in (u, grad): u >= E[S with the policy frozen] (f = sup of affine functions, one for each policy);
    concave: <=.

    Guarantee: two_sided, first order in the surrogate's error.
    """

    horizon: float
    du: float
    dz: float
    shape: str | None
    from_affine: bool       # dz = 0 was read off an f that is affine in grad: true if its slope is constant

    @staticmethod
    def of(source: Source, horizon: float) -> "Lipschitz | None":
        slope, gradient = source.slope, source.gradient_slope
        if source.affine:
            return None         # slopes that vary with (t, x) alone are not what this theorem bounds
        if (source.uses_value and slope is None) or (not source.affine_in_gradient and gradient is None):
            return None
        assumptions = []
        du = dz = 0.0
        if source.uses_value and slope is not None:
            du = slope.value[1] - slope.value[0]
            assumptions.append(f"df/du lies in [{slope.value[0]:.4g}, {slope.value[1]:.4g}]: {slope.origin}")
        if not source.affine_in_gradient and gradient is not None:
            dz = gradient.value
            assumptions.append(f"two values of df/dz differ by at most {dz:.4g}: {gradient.origin}")
        from_affine = source.affine_in_gradient
        shape = None
        if source.shape is not None:
            shape = source.shape.value
            assumptions.append(f"the source is {shape} in (u, grad): {source.shape.origin}")
        return Lipschitz(tuple(assumptions), horizon, float(du), float(dz), shape, from_affine)

    def columns(self, paths: Columns[PerPath], y0: PerPoint) -> Float[np.ndarray, "n paths k"]:
        excess = np.asarray(paths.total, dtype=np.float64) - y0[:, None]
        grown = np.exp(paths.growth)
        return stack(paths.total, paths.frozen, excess**2, paths.residual2, paths.slope_x2, grown, paths.slope_z2)

    def bounds(self, moments: Moments, y0: PerPoint, z: float) -> Bounds:
        mean, error = moments.mean, z * moments.error
        if self.from_affine and not constant_slopes(moments, self.horizon, 6):
            return unbounded(mean[:, 0], error[:, 0])
        excess2, residual2 = upper_mean(moments, 2, z), upper_mean(moments, 3, z)
        du, dz, t = self.du, self.dz, self.horizon
        grown = np.expm1(du * t)
        factor = np.exp(dz**2 * t / 2) * grown + np.sqrt(np.expm1(dz**2 * t))
        residual = 2 * mean[:, 5] * np.exp(du * t) * np.sqrt(t * residual2) * grown
        reach = np.sqrt(excess2) * factor + residual
        low, high = mean[:, 0] - error[:, 0] - reach, mean[:, 0] + error[:, 0] + reach
        if self.shape is not None and (moments.mean[:, 4] < ROUNDING).all():
            if self.shape == "convex":
                low = np.maximum(low, mean[:, 1] - error[:, 1])
            else:
                high = np.minimum(high, mean[:, 1] + error[:, 1])
        value = (low + high) / 2
        sampling = error[:, 0]
        gap = (high - low) / 2 - sampling
        budget = {"sampling": sampling, "linearisation": gap, "time step": np.zeros_like(value)}
        return Bounds(value, low, high, budget, Guarantee.two_sided)
