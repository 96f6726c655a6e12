"""Theorem 1: f affine in (u, grad)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .._solution import Guarantee
from ..analysis import Source
from ..statistics import Moments
from ._base import AbstractCertificate, Bounds, PerPath, PerPoint, stack, unbounded
from ._paths import Columns

ROUNDING = 1e-9     # of int |slope change|^2 ds, a pure number: slopes that differ by less are equal to float32


@dataclass(frozen=True)
class Linear(AbstractCertificate):
    """If f(t, x, u, grad) = c u + b . grad + h(t, x), with c and the chart form of b constant, then

        u(t, x) = E[S],

    for any surrogate (the remainder q of `_paths` vanishes), without time-discretisation bias where X is sampled
    exactly. Assumes second moments. That f is affine is proved; that its slopes are constant is seen at every random
    time of every path: where they are not, this theorem says nothing.

    Guarantee: unbiased.
    """

    horizon: float

    @staticmethod
    def of(source: Source, horizon: float) -> "Linear | None":
        if not source.affine:
            return None
        return Linear(("the source is affine in (u, grad): proved from its trace",), horizon)

    def columns(self, paths: Columns[PerPath], y0: PerPoint) -> Float[np.ndarray, "n paths k"]:
        return stack(paths.total, paths.slope_u2, paths.slope_z2)

    def bounds(self, moments: Moments, y0: PerPoint, z: float) -> Bounds:
        value, sampling = moments.mean[:, 0], z * moments.error[:, 0]
        if not constant_slopes(moments, self.horizon, 1, 2):
            return unbounded(value, sampling)
        zero = np.zeros_like(value)
        budget = {"sampling": sampling, "linearisation": zero, "time step": zero}
        return Bounds(value, value - sampling, value + sampling, budget, Guarantee.unbiased)


def constant_slopes(moments: Moments, horizon: float, *columns: int) -> bool:
    """Whether the slopes whose squared changes are in `columns` were found constant on every path."""
    return bool((horizon * moments.mean[:, list(columns)] < ROUNDING).all())
