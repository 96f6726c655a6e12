"""Theorem 2: f(t, x, grad) smooth in the gradient, without u."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from .._solution import Guarantee
from ..analysis import Bound, Source
from ..statistics import FEW, Moments, lognormal_kurtosis
from ._base import AbstractCertificate, Bounds, PerPath, PerPoint, stack, unbounded
from ._paths import Columns
from .linear import ROUNDING

SMALLEST = 1e-30        # of K; exponentials are averaged less 1, so any K that is not 0 will do, whatever the unit of u


@dataclass(frozen=True)
class GradientSmooth(AbstractCertificate):
    """Let f not depend on u, and let |f(z') - f(z) - f_z(z) . (z' - z)| <= K/2 |z' - z|^2. With beta_k = f_z(zhat_k)
    frozen, B = int |f_z(s, X_s, zhat_s) - beta_k|^2 ds, any eps > 0 and K' = K + eps,

        y0 - (1/K') log E exp(-K' (S - y0 - B/(2 eps)))  <=  u  <=  y0 + (1/K') log E exp(K' (S - y0 + B/(2 eps))).

    Proof: e = Y - yhat obeys de = -q ds + zeta . dW with |q| <= K/2 |zeta|^2 + |f_z - beta_k| |zeta|
    <= K'/2 |zeta|^2 + |f_z - beta_k|^2 / (2 eps), so exp(+-K' (e +- int ...)) are submartingales; where the
    slopes do not vary along a step, B = 0 and eps = 0 (E, Han and Jentzen 2017 call S - y0 the loss; the bound is
    Jensen's). The time integral in S sampled at random times errs to the safe side of both ends, again by Jensen.

    f concave in grad: u <= E[S with the policy frozen], the cost of a policy that one can run (and >= for f convex).
    f = -(K/2)|z|^2 + b . z + c: u = y0 - (1/K) log E exp(-K (S - y0)), exactly; f = +(K/2)|z|^2 likewise with the signs
    changed.

    Guarantee: unbiased for the exact quadratic; two_sided with K declared or proved; estimate where K was estimated.
    An average of exp(K'(S - y0)) is refused, and that end infinite, where the exponent scatters by `LIMIT` or more.
    """

    curvature: float            # K
    eps: float
    known: bool                 # K was declared or proved
    shape: str | None
    sign: int                   # of the exact quadratic: f = sign K/2 |z|^2 + ...; 0 if f is something else
    spread: float = 0.0         # largest scatter of the exponents on the pilot

    LIMIT = 1.5

    @staticmethod
    def of(source: Source, estimated_curvature: float | None) -> "GradientSmooth | None":
        if source.uses_value or source.affine_in_gradient:
            return None
        bound = source.gradient_curvature
        if bound is None:
            if estimated_curvature is None:
                return None
            bound = Bound(estimated_curvature, "estimated from samples")
        if not np.isfinite(bound.value):
            return None         # f is no function of z: some coordinate that it moves has no noise
        known = bound.origin in ("declared", "proved")
        assumptions = [f"df/dz has Lipschitz constant {bound.value:.4g} in z = sigma^T grad: {bound.origin}"]
        if source.shape is not None:
            assumptions.append(f"the source is {source.shape.value} in grad: {source.shape.origin}")
        exact = source.quadratic is not None and not source.uses_point
        sign = int(np.sign(source.quadratic)) if exact and source.quadratic is not None else 0
        if sign:
            quadratic = f"the source is {source.quadratic:+.4g} |z|^2 plus an affine function of grad"
            assumptions = [f"{quadratic}: proved from its trace"]
        shape = None if source.shape is None else source.shape.value
        return GradientSmooth(tuple(assumptions), max(float(bound.value), SMALLEST), 0.0, known, shape, sign)

    def tuned(self, pilot: Columns[PerPath], y0: PerPoint) -> "GradientSmooth":
        """With eps that balances the two parts of the bound on pilot paths: sqrt(E B / Var S)."""
        variance = float(np.var(pilot.total, axis=1).max())
        change = float(np.mean(pilot.slope_z2))
        eps = 0.0 if change < ROUNDING or variance == 0 else float(np.sqrt(change / variance))
        rate = self.curvature + eps
        return replace(self, eps=eps, spread=float(rate * np.std(pilot.total, axis=1).max()))

    def _exponents(self, paths: Columns[PerPath], y0: PerPoint) -> tuple[PerPath, PerPath]:
        rate = self.curvature + self.eps
        excess = np.asarray(paths.total, dtype=np.float64) - y0[:, None]
        shift = np.asarray(paths.slope_z2, dtype=np.float64) / (2 * self.eps) if self.eps else 0.0
        return rate * (excess + shift), -rate * (excess - shift)

    def columns(self, paths: Columns[PerPath], y0: PerPoint) -> Float[np.ndarray, "n paths k"]:
        up, down = self._exponents(paths, y0)
        with np.errstate(over="ignore"):
            up, down = (np.expm1(x) if sign != self.sign else np.zeros_like(x) for sign, x in ((-1, up), (1, down)))
        return stack(paths.total, up, down, paths.frozen, paths.slope_x2)

    def predict(self, pilot: Moments, y0: PerPoint, z: float, count: int) -> Bounds:
        """As many paths as an exponential of a Gaussian exponent needs, since a pilot does not meet its tail."""
        kurtosis = lognormal_kurtosis(min(self.spread, self.LIMIT))
        found = self.bounds(pilot.scaled(count), y0, z)
        return found if count >= FEW * kurtosis else unbounded(found.value, found.budget["sampling"])

    def bounds(self, moments: Moments, y0: PerPoint, z: float) -> Bounds:
        mean, error = moments.mean, z * moments.error
        rate = self.curvature + self.eps
        finite = self.spread < self.LIMIT

        def log_end(k: int, sign: int) -> tuple[PerPoint, PerPoint, PerPoint]:
            """y0 + sign/rate log of 1 + the mean of column k: centre, outer end, inner end."""
            if not finite:
                infinite = np.full_like(y0, sign * np.inf)
                return infinite, infinite, infinite
            with np.errstate(divide="ignore", invalid="ignore"):
                centre = y0 + sign / rate * np.log1p(mean[:, k])
                outer = y0 + sign / rate * np.log1p(mean[:, k] + error[:, k])
                inner = y0 + sign / rate * np.log1p(np.maximum(mean[:, k] - error[:, k], -1.0))
            return centre, outer, inner

        zero = np.zeros_like(y0)
        if self.sign and self.eps == 0 and finite:
            k = 1 if self.sign > 0 else 2
            value, outer, inner = log_end(k, self.sign)
            low, high = np.minimum(inner, outer), np.maximum(inner, outer)
            budget = {"sampling": np.maximum(high - value, value - low), "linearisation": zero, "time step": zero}
            return Bounds(value, low, high, budget, Guarantee.unbiased)
        top, high, _ = log_end(1, 1)
        bottom, low, _ = log_end(2, -1)
        policy_is_exact = bool((moments.mean[:, 4] < ROUNDING).all())
        one_sided = policy_is_exact and self.shape is not None
        if one_sided and self.shape == "concave":
            top, high = mean[:, 3], mean[:, 3] + error[:, 3]
        if one_sided and self.shape == "convex":
            bottom, low = mean[:, 3], mean[:, 3] - error[:, 3]
        with np.errstate(invalid="ignore"):
            value = np.where(np.isfinite(top) & np.isfinite(bottom), (top + bottom) / 2, mean[:, 0])
        gap = np.maximum(top - value, value - bottom)
        with np.errstate(invalid="ignore"):
            sampling = np.fmax(high - top, bottom - low)       # an infinite end has no sampling part
        if finite:
            guarantee = Guarantee.two_sided if self.known else Guarantee.estimate
        elif one_sided:
            guarantee = Guarantee.upper_bound if self.shape == "concave" else Guarantee.lower_bound
        else:
            guarantee = Guarantee.estimate
        return Bounds(value, low, high, {"sampling": sampling, "linearisation": gap, "time step": zero}, guarantee)
