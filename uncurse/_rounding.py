"""What single precision does to paths, and how far it moves an answer.

A path in float32 moves on a grid: x' = fl(x + dx) errs by e, |e| <= ulp(x) / 2. Where dx has Gaussian noise of
standard deviation s, Poisson's formula gives |E e| <= (ulp / pi) sum_k exp(-2 (pi k s / ulp)^2) / k, 1e-9 ulp at
s = ulp, and the variance of the step grows by ulp^2 / 12 (Sheppard 1898; Widrow and Kollar 2008, Quantization Noise,
chapter 4); from a point of the grid, without drift, it is never off by more, whatever s. So N steps blur X_T by an
independent noise with

    rho_i^2 = N ulp(max |x_i|)^2 / 12,      eta_i = rho_i^2 / s_i^2 of coordinate i's own variance s_i^2 = Var X_T,i.

Let v = g(X_T) with X_T Gaussian, s_i xi_i its centred coordinates, independent. The blur is the heat equation, and

    d/deta E g = 1/2 sum_i eta_i s_i^2 E g_ii = 1/2 E[ g sum_i eta_i (xi_i^2 - 1) ]  <=  |eta|_2 / sqrt 2  sd(g)

by parts, twice, and Cauchy-Schwarz: |Delta u| <= eta sqrt(d / 2) sd(g) where all eta_i = eta. g = |X - x|^2 attains it.
A source f along the path adds int sd(f(s, X_s)) ds to sd(g), for the blur of X_s is in proportion to its variance. A
starting point x that has no float32 is moved by delta, and E g by E[g sum_i delta_i xi_i / s_i] <= |delta / s|_2 sd(g);
for f it is twice that, since X_s scatters less.

Coordinates that do not scatter, or that float32 holds still, are off by N ulp / 2 at most, every error with the same
sign. What that does is measured: paths with the same noise start as far away.

First order in eta; s_i is taken three standard errors low, ulp and s_i come from fresh paths without control and
without f, and coordinates are taken to scatter independently: the difference of two that hardly differ is not covered.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Array, Float, Key

from ._solution import Guarantee
from .certificates import Bounds, rows_for, terminal_points
from .processes import AbstractProcess
from .statistics import Moments

PerPoint = Float[np.ndarray, " n"]

EPS = float(np.finfo(np.float32).eps)
FEWEST, ENOUGH = 16, 4096       # paths a point, and paths at once, that say how far X_T scatters
STEPS = 10                      # of a stepped process on them
SIGNS = 4                       # directions in which coordinates that do not scatter are moved


@dataclass(frozen=True)
class Blur:
    """How single precision blurs the paths from each of n points.

    share: |eta|_2 / sqrt 2 + |delta / s|_2, which times the scatter of what is averaged bounds the change of its mean.
    still: how far coordinates that do not scatter may be off; 0 for those that do.
    """

    share: PerPoint
    still: Float[np.ndarray, "n d"]

    @staticmethod
    def of(
        points: Float[np.ndarray, "n d"], ends: Float[np.ndarray, "n paths d"], moved: Float[np.ndarray, "n paths d"],
        steps: int, flat: bool = True, lasting: bool = False,
    ) -> "Blur":
        """From X_T on some paths, and how far it moved in the chart.

        lasting: errors of one path may keep their sign from step to step, as where a coordinate has no noise of its
        own: N^2 in place of N.
        """
        far = np.maximum(np.abs(points), np.abs(ends).max(axis=1)).astype(np.float32)
        far = np.where(np.isfinite(far), far, 0.0)              # such paths are refused elsewhere
        ulp = np.spacing(far).astype(np.float64) if flat else np.full(points.shape, EPS)     # of log x
        lost = np.abs(points - points.astype(np.float32))
        roundings = (steps**2 if lasting else steps) + 1        # one more in the argument of g
        moved = np.where(np.isfinite(moved), moved, 0.0)
        low = moved.std(axis=1, ddof=1, dtype=np.float64) / np.sqrt(1 + 3 * np.sqrt(2 / ends.shape[1]))
        scatters = low > 0.1 * ulp                              # else the grid has eaten the noise
        safe = np.where(scatters, low, 1.0)
        eta = np.where(scatters, roundings / 12 * (ulp / safe) ** 2, 0.0)
        away = np.where(scatters, lost / safe / (1.0 if flat else np.maximum(np.abs(points), EPS)), 0.0)
        share = np.sqrt(np.sum(eta**2, axis=1) / 2) + np.sqrt(np.sum(away**2, axis=1))
        still = np.where(scatters, 0.0, (steps + 1) / 2 * (ulp if flat else ulp * far) + lost)
        return Blur(share, still)

    @staticmethod
    def of_process(
        process: AbstractProcess, horizon: float, points: Float[np.ndarray, "n d"], steps: int, key: Key[Array, ""]
    ) -> "Blur":
        """For `steps` steps of a process up to the horizon."""
        n, d = points.shape
        rows = min(rows_for(d, 1), ENOUGH)
        block, found = min(n, max(rows // FEWEST, 1)), []
        for first in range(0, n, block):
            at = np.resize(np.arange(first, min(first + block, n)), block)      # one compiled shape
            drawn = terminal_points(process, horizon, STEPS, points[at], rows // block, key, (first,))
            ends, moved = (np.asarray(a).reshape(block, -1, d) for a in drawn)
            found.append(Blur.of(points[at], ends, moved, steps, process.flat, not process.exact))
        joined = (np.concatenate([getattr(b, name) for b in found])[:n] for name in ("share", "still"))
        return Blur(*joined)

    def error(
        self, felt: PerPoint, points: Float[np.ndarray, "n d"],
        mean: Callable[[Float[np.ndarray, "n d"]], Float[np.ndarray, "n k"]],
    ) -> PerPoint:
        """How far answers may be off: `felt` is the scatter of what is averaged, `mean` its mean from other starting
        points along the same noise."""
        error = np.where(self.share > 0, self.share * felt, 0.0)
        if self.still.any():
            here = mean(points)
            moved = [np.abs(mean(points + sign * self.still) - here).max(axis=1) for sign in _signs(points.shape[1])]
            error = error + np.nan_to_num(np.max(moved, axis=0), nan=np.inf)
        return error


def ulps(dim: int) -> float:
    """Of the value, in sums over so many coordinates: their roundings add up like a random walk."""
    return max(4.0, 0.4 * np.sqrt(dim))


def widened(bounds: Bounds, blur: PerPoint, ulps: float = 0.0) -> Bounds:
    """The interval with both ends moved out by what blurred paths do, and by some ulps of the value.

    The word falls to estimate where blur makes half of the width or more: it is bounded to first order only.
    """
    error = blur + ulps * EPS * np.abs(bounds.value)
    budget = {**bounds.budget, "rounding": bounds.budget.get("rounding", 0.0) + error}
    wide = replace(bounds, low=bounds.low - error, high=bounds.high + error, budget=budget)
    large = bool((blur > 0.5 * wide.half_width).any())
    return replace(wide, guarantee=Guarantee.estimate) if large else wide


def felt(values: Float[np.ndarray, "n paths"]) -> PerPoint:
    """The standard deviation of what paths give, at its upper limit."""
    moments = Moments.of(np.asarray(values)[..., None])
    return moments.cautious_error[:, 0] * np.sqrt(moments.counts)


def _signs(d: int) -> Iterator[Float[np.ndarray, " d"]]:
    """Directions: all coordinates alike, and at random, both ways."""
    rng = np.random.default_rng(0)
    for i in range(SIGNS if d > 1 else 1):
        sign = np.ones(d) if i == 0 else rng.choice([-1.0, 1.0], d)
        yield sign
        yield -sign
