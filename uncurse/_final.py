"""Certifies a frozen surrogate: fresh paths, in numbers fixed beforehand, for as many points as were asked for."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import reduce

import numpy as np
from jaxtyping import Float, Int

from ._gather import Gathered, gather, growth
from ._request import Request
from ._rounding import ulps, widened
from ._solution import Guarantee, Result, Snapshot
from .certificates import TOGETHER, AbstractCertificate, Bounds, Sampler, allowed, paths_needed
from .statistics import Moments, Purpose, stream
from .surrogates import AbstractSurrogate

PerPoint = Float[np.ndarray, " n"]
Points = Int[np.ndarray, " n"]

FEWEST = 2048               # paths for one point in a final sample; 256 where there are many points
ATTEMPTS = 4                # samples in all: what fell short is enlarged three times


def fewest(points: int) -> int:
    """Paths a point in the smallest final sample."""
    return FEWEST if points == 1 else 256


def planned(counts: Points, asked: int) -> Points:
    """Paths for each point, from what pilots say of them or of some of the `asked` points.

    Few points all get what the worst needs. Where there are many, pilots are small, and some scatter low by chance.
    """
    enough = counts.max() if asked <= TOGETHER else int(np.median(counts))
    return np.maximum(np.maximum(counts, enough), fewest(asked))


@dataclass(frozen=True)
class Plan:
    """What is to be certified, how, and with how many paths."""

    sampler: Sampler
    surrogate: AbstractSurrogate
    certificate: AbstractCertificate
    y0: PerPoint
    rounding: PerPoint      # how far u is off because paths are rounded
    counts: Points | None   # paths for each point; None: no number will do
    rate: float             # seconds a path
    varies: bool            # g or f depends on where a path is
    finite: bool            # pilot paths were
    reach: tuple[float, float] = (-np.inf, np.inf)      # in which u at t = 0 is known to lie


@dataclass
class Final:
    """The final samples of one call of solve, and what they say."""

    request: Request
    history: list[Snapshot] = field(default_factory=list)
    interrupted: bool = False

    def certify(self, plan: Plan) -> tuple[Bounds, int, Result]:
        """The interval, the most paths that a point took, and how it ended.

        Numbers of paths are fixed beforehand. More join where a point fell short, up to three times: a sample drawn
        anew would forget the rare large value for which the first was found too small.
        """
        wanted, short = self._wanted(plan), np.arange(len(plan.y0))
        moments, complete, attempt = None, True, 0
        while True:
            missing = wanted[short] - (0 if moments is None else moments.counts[short])
            drawn, whole = self._sample(plan, short, missing, attempt, moments)
            moments = drawn if moments is None else moments.updated(short, drawn)
            complete, attempt = complete and whole, attempt + 1
            bounds = self._bounds(plan, moments)
            asked = allowed(bounds.value, self.request.tolerance)
            short = np.flatnonzero((bounds.half_width > asked) & (bounds.budget["rounding"] < asked))
            final = self.interrupted or not complete or plan.counts is None or attempt == ATTEMPTS
            if not len(short) or moments.invalid or final:
                break
            needed = paths_needed(
                plan.certificate, moments, plan.y0, self.request.tolerance, self.request.z, bounds.budget["rounding"]
            )
            wanted = (growth(bounds, moments, needed=needed) * moments.counts).astype(int)
        unseen = plan.varies & (moments.deviation[:, 0] == 0)
        if unseen.any() and not moments.invalid:
            least, most = plan.reach
            bounds = replace(
                bounds, low=np.where(unseen, least, bounds.low), high=np.where(unseen, most, bounds.high),
                guarantee=Guarantee.estimate,
            )
        return bounds, int(moments.counts.max()), self._verdict(bounds, moments, complete, bool(unseen.any()))

    def _wanted(self, plan: Plan) -> Points:
        """Paths for each point. The clock may allow only fewer: all points then get fewer, so that none is left out."""
        n, least = len(plan.y0), fewest(len(plan.y0))
        if self.interrupted or plan.counts is None or not plan.finite:
            return np.full(n, max(least, 4 * plan.sampler.width))
        counts = planned(plan.counts, n)
        if n <= TOGETHER:
            return counts
        room = max(self.request.left, 0.0) / max(float(counts.sum()) * plan.rate, 1e-9)
        return np.maximum((counts * min(1.0, room)).astype(int), least)

    def _sample(
        self, plan: Plan, points: Points, missing: Points, attempt: int, before: Moments | None
    ) -> tuple[Moments, bool]:
        """New paths for some points, in groups that need about as many; whether all were drawn.

        A group has as many slots as were compiled for: its points fill them several times where they are few. After
        Ctrl-C the other groups get one round of paths each, so that no point is left without an answer.
        """
        order = np.argsort(missing, kind="stable") if len(points) > TOGETHER else np.arange(len(points))
        groups = list(_alike(order, missing)) if len(points) > TOGETHER else [order]
        slots, parts, complete, invalid, cut = min(len(plan.y0), TOGETHER), [], True, 0, False
        for i, group in enumerate(groups):
            copies = max(slots // len(group), 1)
            at = points[np.resize(group, slots)]
            count = 1 if cut else -(-int(missing[group].max()) // copies)
            whole = len(points) == len(plan.y0) == len(group)
            found = self._group(plan, at, count, (attempt, i), (i, len(groups)), whole, before)
            complete, cut = complete and found.complete, cut or found.interrupted
            invalid += found.moments.invalid
            same = (found.moments.take(np.arange(c * len(group), (c + 1) * len(group))) for c in range(copies))
            parts.append(reduce(Moments.merge, same))
        drawn = Moments.concatenate(parts).take(np.argsort(order, kind="stable"))
        return replace(drawn, invalid=invalid), complete

    def _group(
        self, plan: Plan, at: Points, count: int, path: tuple[int, int], place: tuple[int, int], whole: bool,
        before: Moments | None,
    ) -> Gathered:
        """Paths for one group; `whole` says that it holds all points, each once."""
        sampler, y0 = replace(plan.sampler, starts=plan.sampler.starts[at]), plan.y0[at]

        def drawn(count: int, *words: int) -> Iterator[Moments]:
            attempt, group = path
            key = stream(self.request.seed, Purpose.certificate, attempt, *words, *((2, group) if group else ()))
            return sampler.moments(plan.surrogate, y0, key, count, plan.certificate)

        def seen(moments: Moments) -> None:
            done = (place[0] + moments.count / max(count, 1)) / place[1]
            if not whole:
                self.request.progress.update(min(done, 1.0))
                return
            bounds = self._bounds(plan, moments if before is None else before.merge(moments))
            self.history.append(Snapshot(self.request.clock.elapsed, bounds.low, bounds.high, "certificate"))
            self.request.show(bounds.low, bounds.high, min(done, 1.0))

        least = None if self.interrupted else lambda: next(drawn(1, 1))      # a second Ctrl-C goes through
        found = gather(self.request, drawn(count), count, seen=seen, least=least)
        self.interrupted |= found.interrupted
        return found

    def _bounds(self, plan: Plan, moments: Moments) -> Bounds:
        """The interval, cut to the range of u, and widened by what single precision can carry: paths, a few units in
        the last place of the value, and sums over all coordinates."""
        bounds = within(plan.certificate.bounds(moments, plan.y0, self.request.z), plan.reach)
        return widened(bounds, plan.rounding, ulps(plan.sampler.starts.shape[1]))

    def _verdict(self, bounds: Bounds, moments: Moments, complete: bool, unseen: bool) -> Result:
        if moments.invalid:
            return Result.not_finite
        asked = allowed(bounds.value, self.request.tolerance)
        if (bounds.half_width <= asked).all():
            return Result.tolerance_met
        if unseen or (moments.heavy[:, 0] & ~np.isfinite(bounds.half_width)).any():
            return Result.heavy_tailed
        if self.interrupted:
            return Result.interrupted
        if not complete or self.request.clock.elapsed > 0.9 * self.request.limit:
            return Result.time_limit
        return Result.bias_limited if (bounds.bias > 0.5 * asked).any() else Result.sampling_limited


def _alike(order: Points, missing: Points) -> Iterator[Points]:
    """Points in their order, some at a time, that need about as many paths: at most twice as many as another."""
    first = 0
    for i in range(1, len(order) + 1):
        if i == len(order) or i - first == TOGETHER or missing[order[i]] > 2 * missing[order[first]]:
            yield order[first:i]
            first = i


def within(bounds: Bounds, reach: tuple[float, float]) -> Bounds:
    """The interval cut to the range of u: its middle is the value where the samples' mean is outside, and no part of
    the budget exceeds what is left.

    Where the two are disjoint, by chance or because a declared range is wrong, what is between them is returned, and
    called an estimate.
    """
    low, high = np.maximum(bounds.low, reach[0]), np.minimum(bounds.high, reach[1])
    apart = low > high
    low, high = np.minimum(low, high), np.maximum(low, high)
    with np.errstate(invalid="ignore"):     # ends may be infinite
        middle = low / 2 + high / 2
    outside = ((bounds.value < low) | (bounds.value > high)) & np.isfinite(middle)
    cut = replace(
        bounds, value=np.where(outside, middle, np.clip(bounds.value, low, high)), low=low, high=high,
        guarantee=Guarantee.estimate if apart.any() else bounds.guarantee,
    )
    moved, half = (low > bounds.low) | (high < bounds.high) | apart, cut.half_width
    return replace(cut, budget={name: np.where(moved, np.fmin(p, half), p) for name, p in bounds.budget.items()})
