"""A sample brought to a size fixed beforehand, cut short only by the clock or the user; and the next size."""

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Int

from ._request import Request
from .certificates import Bounds
from .statistics import FEW, Moments

MOST_GROWTH = 8.0           # of a sample in one go

Made = TypeVar("Made")


class Gathered(NamedTuple):
    """What was drawn."""

    moments: Moments
    complete: bool          # it has the size that was planned
    interrupted: bool       # by Ctrl-C


def gather(
    request: Request,
    drawn: Iterable[Moments],
    count: int,
    before: Moments | None = None,
    *,
    seen: Callable[[Moments], None],
    least: Callable[[], Moments] | None = None,
    until: float | None = None,
) -> Gathered:
    """Moments of `count` paths a point.

    Args:
        drawn: the moments of all new paths so far, again and again.
        before: those of an earlier sample, which the new paths join: one drawn anew would forget the rare large value
            for which the first was found too small.
        seen: told of each state, for progress and history.
        least: draws a smallest sample, where Ctrl-C came before there was any; without it the interrupt goes on.
        until: seconds of the clock; by default the limit of the request.
    """
    moments, until = before, request.limit if until is None else until
    with request.clock.stage("certify"):
        try:
            for more in drawn:
                moments = more if before is None else before.merge(more)
                seen(moments)
                if request.clock.elapsed > until and moments.count < count:
                    return Gathered(moments, False, False)
        except KeyboardInterrupt:
            if moments is None:
                if least is None:
                    raise
                moments = least()       # soon drawn; a second Ctrl-C ends it
            return Gathered(moments, False, True)
    if moments is None:
        raise ValueError("nothing was drawn, and there was nothing before")
    return Gathered(moments, True, False)


def insisted(make: Callable[[], Made]) -> tuple[Made, bool]:
    """What `make` makes, from the beginning where Ctrl-C comes in between, and whether one came.

    It is needed before any interval, and takes a moment; a second Ctrl-C ends it.
    """
    try:
        return make(), False
    except KeyboardInterrupt:
        return make(), True


def growth(
    bounds: Bounds, moments: Moments, leading: int | None = None, needed: Int[np.ndarray, " n"] | None = None
) -> Float[np.ndarray, " n"]:
    """By how much to enlarge samples that fell short: by half, but by more where few paths carry an average.

    leading: so many columns are of interest, even where others keep the interval finite without them. needed: paths
    that the samples say are enough; then by what they lack, up to half, but where few carry the average.
    """
    kurtosis = np.where(np.isfinite(moments.kurtosis), moments.kurtosis, 0.0)[:, :leading].max(axis=1)
    carried = np.clip(1.5 * FEW * kurtosis / moments.counts, 1.5, MOST_GROWTH)
    few = ~np.isfinite(bounds.half_width)
    few = few if leading is None else few | moments.heavy[:, :leading].any(axis=1)
    return np.where(few, carried, 1.5 if needed is None else np.clip(needed / moments.counts, 1.1, 1.5))
