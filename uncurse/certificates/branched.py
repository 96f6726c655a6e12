"""Theorem 8a: how far a policy's cost can be above the least, from gradients at branched continuations."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from .._solution import Guarantee
from ..statistics import Moments, shared_factors
from ._base import Bounds

PerPoint = Float[np.ndarray, " n"]
Control = Float[np.ndarray, "... m"]


@dataclass(frozen=True)
class Branched:
    """cost(pi) - V <= sum_k h E phi_k for a convex control problem and any policy pi.

    Let controlled states be affine in (controlled states, controls) for given noise and exogenous states, the terminal
    cost convex in the controlled states, l - sum_i m_i a_i^2 / 2 jointly convex in controlled states and controls, and
    the controls in a box. With G_k the derivative of the remaining cost in a_k, all other controls held fixed as
    processes, and gamma_k = E[G_k | past] / h,

        phi_k = max over a' in the box of sum_i [-gamma_i (a'_i - a_i) - m_i (a'_i - a_i)^2 / 2].

    gamma is known from B independent continuations of the same past. Each control is bounded in one of two ways, which
    may depend on the past and on pilot paths, not on the continuations:

    - averaged: phi at the mean of the B gradients. phi is convex, so the noise of the mean errs on the safe side.
    - paired: phi_i <= gamma_i^2 / (2 m_i), and gamma_i^2 is estimated without bias by products of different
      continuations. Used where a_i is inside its bounds, so that nothing is lost to the noise.

    Dates are drawn at random; `steps` times the mean over dates stands for the sum. Proof: docs/certificates.md, 8a.

    Args:
        modulus: m_i >= 0.
        low, high: the box; infinite where there is none.
        step, steps: h and N.
        paired: controls for which the second way is used, inside their bounds.
    """

    modulus: Float[np.ndarray, " m"]
    low: Float[np.ndarray, " m"]
    high: Float[np.ndarray, " m"]
    step: float
    steps: int
    paired: Bool[np.ndarray, " m"]

    def columns(self, gradients: Float[np.ndarray, "n groups branches m"], controls: Float[np.ndarray, "n groups m"]
                ) -> Float[np.ndarray, "n groups 1"]:
        """What to average: one number for each date at which continuations were drawn."""
        averaged, paired, inside = self.parts(gradients, controls)
        per_control = np.where(inside & self.paired, paired, averaged)
        return self.step * self.steps * per_control.sum(axis=-1, keepdims=True)

    def parts(self, gradients: Float[np.ndarray, "n groups branches m"], controls: Float[np.ndarray, "n groups m"]
              ) -> tuple[Control, Control, Bool[np.ndarray, "... m"]]:
        """The bound for each control in both ways, and whether the control is inside its bounds."""
        gamma = gradients / self.step
        return self.averaged(gamma.mean(axis=2), controls), self._products(gamma), self._inside(controls)

    def pressing(self, gradients: Float[np.ndarray, "n groups branches m"], controls: Float[np.ndarray, "n groups m"]
                 ) -> Control:
        """gamma^2 without bias, so sometimes below 0, where moving the control against gamma stays within its bounds;
        else 0."""
        gamma = gradients / self.step
        b, mean = gamma.shape[2], gamma.mean(axis=2)
        squares = (gamma.sum(axis=2) ** 2 - (gamma**2).sum(axis=2)) / (b * (b - 1))
        return np.where(self._inside(controls) | (np.where(controls > self.low, mean, -mean) > 0), squares, 0.0)

    def averaged(self, gamma: Control, a: Control) -> Control:
        """max over low <= a' <= high of -gamma (a' - a) - m (a' - a)^2 / 2, for each control."""
        down, up = np.minimum(self.low - a, 0.0), np.maximum(self.high - a, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            far = np.where(gamma == 0, 0.0, -np.sign(gamma) * np.inf)
            free = np.where(self.modulus > 0, -gamma / self.modulus, far)
        move = np.clip(free, down, up)
        with np.errstate(invalid="ignore"):
            gain = -gamma * move - self.modulus * move**2 / 2
        return np.where(np.isnan(gain), np.inf, gain)

    def _products(self, gamma: Float[np.ndarray, "n groups branches m"]) -> Control:
        """Unbiased for gamma^2 / (2 m): the mean product of different continuations."""
        b = gamma.shape[2]
        squares = (gamma.sum(axis=2) ** 2 - (gamma**2).sum(axis=2)) / (b * (b - 1))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.modulus > 0, squares / (2 * self.modulus), np.inf)

    def _inside(self, a: Control) -> Bool[np.ndarray, "... m"]:
        width = np.where(np.isfinite(self.high - self.low), self.high - self.low, 1.0)
        return (a > self.low + 1e-6 * width) & (a < self.high - 1e-6 * width)


def chosen(
    bound: Branched, gradients: Float[np.ndarray, "n groups branches m"], controls: Float[np.ndarray, "n groups m"]
) -> Bool[np.ndarray, " m"]:
    """Which way is the tighter for each control, from pilot paths: paired or not."""
    averaged, paired, inside = bound.parts(gradients, controls)
    both = np.where(inside, paired, 0.0), np.where(inside, averaged, 0.0)
    return both[0].mean(axis=(0, 1)) <= both[1].mean(axis=(0, 1))


def interval(
    cost: Moments, gap: Moments | None, z: float, floor: float, rounding: float, proved: bool
) -> Bounds:
    """[cost - gap, cost], each end with its sampling error; the value is the middle.

    Args:
        cost: moments of a policy's cost, less a martingale in the first column and plain in the last. Each end is the
            better of the two, at a confidence that they share; so it is finite where plain Monte Carlo's is.
        gap: moments of its distance from the least cost; None where nothing bounds it, and `floor` is all that is
            known.
        z: standard errors.
        floor: below which no cost can be; -inf without one.
        rounding: relative error of a path's cost in single precision.
        proved: whether convexity and modulus were proved or declared, not only tested.
    """
    mean, rounded = cost.mean[:, 0], rounding * np.abs(cost.mean[:, 0])
    high = plain_or_corrected(cost, z) + rounded
    error = high - rounded - mean
    if gap is None:
        low = np.full_like(mean, floor)
        budget = {"sampling": error, "policy gap": mean - low, "rounding": rounded}
        return Bounds(mean, low, high, budget, Guarantee.upper_bound)
    between = np.maximum(gap.mean[:, 0], 0.0)
    # Many dates add nothing to the gap: its column looks heavy-tailed, and its error is taken at the upper limit.
    lows = (
        cost.mean[:, k] - factor * np.hypot(cost.error[:, k], gap.cautious_error[:, 0])
        for k, factor in zip((0, -1), shared_factors(z), strict=True)
    )
    low = np.maximum(np.maximum(*lows) - between - rounded, floor)
    high = np.maximum(high, low)
    with np.errstate(invalid="ignore"):
        sampling, value = np.maximum((high - low - between) / 2 - rounded, 0.0), (low + high) / 2
    value = np.where(np.isfinite(value), value, mean)
    budget = {"sampling": sampling, "policy gap": between / 2, "rounding": rounded}
    return Bounds(value, low, high, budget, Guarantee.two_sided if proved else Guarantee.estimate)


def plain_or_corrected(cost: Moments, z: float) -> PerPoint:
    """An upper limit of a mean that two columns have, the first and the last: the lower of theirs, at a confidence that
    they share."""
    first, last = shared_factors(z)
    return np.minimum(cost.mean[:, 0] + first * cost.error[:, 0], cost.mean[:, -1] + last * cost.error[:, -1])


def split(
    gap: PerPoint, spreads: tuple[PerPoint, PerPoint], tolerance: PerPoint, z: float, rates: tuple[float, float],
    fewest: int,
) -> tuple[int, int]:
    """Paths and dates a point that bring the half-width within the tolerance: the cheapest split of what the gap
    leaves.

    Args:
        gap: predicted, infinite where nothing is proved.
        spreads: standard deviations of one path's cost, of one date's gap.
        rates: seconds of a path, of a date.
        fewest: paths; a quarter as many dates.
    """
    if not np.isfinite(gap).all():
        return int(max(fewest, np.max((z * spreads[0] / (0.9 * tolerance)) ** 2))), 0
    # A gap beyond the tolerance is not worth knowing to the tolerance.
    room = np.maximum(0.9 * tolerance - gap / 2, 0.2 * np.maximum(tolerance, gap / 2))
    best, found = np.inf, (fewest, fewest // 4)
    for ratio in np.geomspace(0.1, 10.0, 21):       # error of the gap over error of the cost
        error = 2 * room / (z * (1 + np.sqrt(1 + ratio**2)))
        paths = max(fewest, 1.2 * np.max((spreads[0] / error) ** 2))
        dates = max(fewest // 4, 1.2 * np.max((spreads[1] / (ratio * error)) ** 2))
        price = paths * rates[0] + dates * rates[1]
        if price < best:
            best, found = price, (int(paths), int(dates))
    return found
