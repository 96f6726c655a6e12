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

        |u - E S| <= |Gamma_T A|_2 (exp(dz^2 T/2) (exp(du T) - 1) + sqrt(exp(dz^2 T) - 1)) + r,
        r = 2 G (exp(M h) - 1) exp(dz^2 T/2) (T int E |residual of yhat|^2 ds)^(1/2),

    with A = g(X_T) - yhat_T, M = sup |df/du|, G = exp(T max(df/du, 0)) and steps of length h. Where u is known to keep
    a range, f is continued affinely outside it, so that the slopes over the range are all there are.

    Proof: f(Y, Z) - f(yhat, zhat) = a e + b . zeta with adapted a, b in those sets, so e_0 = E^b[exp(int a) A] up to r,
    = E[D exp(int (a - c)) Gamma_T A], D the density of the measure with drift b against the one simulated, and
    E D^2 <= exp(dz^2 T). The Cauchy-Schwarz inequality gives the rest; no exponential moment is needed. r: what yhat
    leaves out of f inside a step is put back at its end, from a random time, so only the weights' change within the
    step counts.

    f convex in (u, grad): u >= E[S with the policy frozen] (f = sup of affine functions, one for each policy);
    concave: <=.

    Guarantee: two_sided, first order in the surrogate's error.
    """

    horizon: float
    step: float
    slope: tuple[float, float]      # of df/du; (0, 0) where f does not depend on u
    dz: float
    shape: str | None
    from_affine: bool       # dz = 0 was read off an f that is affine in grad: true if its slope is constant

    @staticmethod
    def of(source: Source, horizon: float, step: float) -> "Lipschitz | None":
        slope, gradient = source.slope, source.gradient_slope
        if source.affine:
            return None         # slopes that vary with (t, x) alone are not what this theorem bounds
        if (source.uses_value and slope is None) or (not source.affine_in_gradient and gradient is None):
            return None
        if source.value_range is not None and source.extension is None:
            return None         # the slopes are known over the range of u only, and yhat may leave it
        assumptions = [*source.range_words]
        dz, over = 0.0, (0.0, 0.0)
        if source.uses_value and slope is not None:
            over = slope.value
            assumptions.append(f"df/du lies in [{slope.value[0]:.4g}, {slope.value[1]:.4g}]: {slope.origin}")
        if not source.affine_in_gradient and gradient is not None:
            dz = gradient.value
            assumptions.append(f"two values of df/dz differ by at most {dz:.4g}: {gradient.origin}")
        from_affine = source.affine_in_gradient
        shape = None
        if source.shape is not None:
            shape = source.shape.value
            assumptions.append(f"the source is {shape} in (u, grad): {source.shape.origin}")
        return Lipschitz(tuple(assumptions), horizon, step, over, float(dz), shape, from_affine)

    def columns(self, paths: Columns[PerPath], y0: PerPoint) -> Float[np.ndarray, "n paths k"]:
        weighted = np.exp(paths.log_gamma) * np.asarray(paths.mismatch, dtype=np.float64)
        return stack(paths.total, paths.frozen, weighted**2, paths.residual2, paths.slope_x2, paths.slope_z2)

    def bounds(self, moments: Moments, y0: PerPoint, z: float) -> Bounds:
        return self.interval(moments, z, upper_mean(moments, 2, z))

    def interval(self, moments: Moments, z: float, moved2: PerPoint) -> Bounds:
        """The theorem, with `moved2` for the part of |Gamma_T A|_2^2 that a change of df/dz can move."""
        mean, error = moments.mean, z * moments.error
        if self.from_affine and not constant_slopes(moments, self.horizon, 5):
            return unbounded(mean[:, 0], error[:, 0])
        weighted2, residual2 = upper_mean(moments, 2, z), upper_mean(moments, 3, z)
        (least, most), t = self.slope, self.horizon
        with np.errstate(over="ignore", invalid="ignore"):      # a factor beyond float64 says nothing: infinite
            density = np.exp(self.dz**2 * t / 2)
            growth, within = np.exp(max(most, 0.0) * t), np.expm1(max(abs(least), abs(most)) * self.step)
            discount = np.sqrt(weighted2) * density * np.expm1((most - least) * t)
            drift = np.sqrt(moved2 * np.expm1(self.dz**2 * t))
            reach = discount + drift + 2 * growth * within * density * np.sqrt(t * residual2)
        reach = np.where(np.isnan(reach), np.inf, reach)
        low, high = mean[:, 0] - error[:, 0] - reach, mean[:, 0] + error[:, 0] + reach
        if self.shape is not None and (moments.mean[:, 4] < ROUNDING).all():
            if self.shape == "convex":
                low = np.maximum(low, mean[:, 1] - error[:, 1])
            else:
                high = np.minimum(high, mean[:, 1] + error[:, 1])
        sampling = error[:, 0]
        with np.errstate(invalid="ignore"):     # an end may be infinite
            value, gap = (low + high) / 2, np.fmax((high - low) / 2 - sampling, 0.0)
        value = np.where(np.isfinite(value), value, mean[:, 0])
        budget = {"sampling": sampling, "linearisation": gap, "time step": np.zeros_like(value)}
        return Bounds(value, low, high, budget, Guarantee.two_sided)
