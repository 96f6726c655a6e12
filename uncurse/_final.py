"""Certifies a frozen surrogate: fresh paths, in numbers fixed beforehand, for as many points as were asked for."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import reduce

import numpy as np
from jaxtyping import Float, Int

from ._gather import gather
from ._request import Request
from ._solution import Guarantee, Result, Snapshot
from .certificates import TOGETHER, AbstractCertificate, Bounds, Sampler, allowed
from .statistics import FEW, Moments, Purpose, stream
from .surrogates import AbstractSurrogate

PerPoint = Float[np.ndarray, " n"]

FEWEST = 2048               # paths for one point in a final sample; 256 where there are many points
MOST_GROWTH = 8.0           # of a sample in one go
WORST = [Result.not_finite, Result.heavy_tailed, Result.interrupted, Result.time_limit, Result.bias_limited,
         Result.sampling_limited, Result.tolerance_met]  # fmt: skip


def fewest(points: int) -> int:
    """Paths a point in the smallest final sample."""
    return FEWEST if points == 1 else 256


def planned(counts: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Paths for each point, from what pilots say: these are small where there are many points, and some scatter low by
    chance."""
    return np.maximum(counts, int(np.median(counts)))


@dataclass(frozen=True)
class Plan:
    """What is to be certified, how, and with how many paths."""

    sampler: Sampler
    surrogate: AbstractSurrogate
    certificate: AbstractCertificate
    y0: PerPoint
    counts: Int[np.ndarray, " n"] | None    # paths for each point; None: no number will do
    rate: float                             # seconds a path
    varies: bool                            # g or f depends on where a path is
    finite: bool                            # pilot paths were

    def at(self, points: Int[np.ndarray, " k"]) -> "Plan":
        """The same for some of the points."""
        counts = None if self.counts is None else self.counts[points]
        return replace(self, sampler=replace(self.sampler, starts=self.sampler.starts[points]), y0=self.y0[points],
                       counts=counts)  # fmt: skip


@dataclass
class Final:
    """The final samples of one call of solve, and what they say."""

    request: Request
    history: list[Snapshot] = field(default_factory=list)
    interrupted: bool = False

    def certify(self, plan: Plan) -> tuple[Bounds, int, Result]:
        """The interval, the most paths that a point took, and how it ended.

        Points are certified in groups that need about as many paths, so that a few hard points do not make all dear.
        """
        n = len(plan.y0)
        if n <= TOGETHER:
            return self._group(plan, np.arange(n), 0)
        plan = self._within_limit(plan)
        order = np.arange(n) if plan.counts is None else np.argsort(plan.counts, kind="stable")
        groups = [order[i : i + TOGETHER] for i in range(0, n, TOGETHER)]
        found = [self._group(plan.at(np.resize(g, TOGETHER)), g, i) for i, g in enumerate(groups)]
        back = np.argsort(order, kind="stable")
        whole = reduce(_joined, (_first(b, len(g)) for (b, *_), g in zip(found, groups, strict=True)))
        return _taken(whole, back), max(f[1] for f in found), min((f[2] for f in found), key=WORST.index)

    def _within_limit(self, plan: Plan) -> Plan:
        """Fewer paths for each point where the clock will not allow all, so that no point is left with none."""
        if plan.counts is None:
            return plan
        counts = planned(plan.counts)
        room = max(self.request.left, 0.0) / max(float(counts.sum()) * plan.rate, 1e-9)
        return replace(plan, counts=np.maximum((counts * min(1.0, room)).astype(int), fewest(len(plan.y0))))

    def _group(self, plan: Plan, points: Int[np.ndarray, " k"], group: int) -> tuple[Bounds, int, Result]:
        """One size of sample for a few points; half as many paths join a sample that fell short."""
        hopeless = self.interrupted or plan.counts is None or not plan.finite
        least = max(fewest(len(self.request.points)), 4 * plan.sampler.width if hopeless else 0)
        count = least if hopeless or plan.counts is None else max(int(plan.counts.max()), least)
        attempt, moments = 0, None
        while True:
            bounds, moments, complete = self._sample(plan, count, (attempt, group), points, moments)
            met = bool((bounds.half_width <= allowed(bounds.value, self.request.tolerance)).all())
            if met or moments.invalid or not complete or plan.counts is None or attempt == 2:
                break
            count, attempt = int(_growth(bounds, moments) * moments.count), attempt + 1
        unseen = plan.varies and _unseen(moments)
        if unseen and not moments.invalid:
            infinite = np.full_like(bounds.value, np.inf)
            bounds, met = replace(bounds, low=-infinite, high=infinite, guarantee=Guarantee.estimate), False
        return bounds, moments.count, self._verdict(bounds, moments, met, complete, unseen)

    def _sample(
        self, plan: Plan, count: int, path: tuple[int, int], points: Int[np.ndarray, " k"], before: Moments | None
    ) -> tuple[Bounds, Moments, bool]:
        """A sample brought to a fixed size, cut short only by the clock or the user."""
        def drawn(count: int, *words: int) -> Iterator[Moments]:
            attempt, group = path
            key = stream(self.request.seed, Purpose.certificate, attempt, *words, *((2, group) if group else ()))
            return plan.sampler.moments(plan.surrogate, plan.y0, key, count, plan.certificate)

        def seen(moments: Moments) -> None:
            bounds = plan.certificate.bounds(moments, plan.y0, self.request.z)
            worst = int(np.argmax(bounds.half_width))
            done = (path[1] * TOGETHER + len(points) * moments.count / count) / len(self.request.points)
            self.request.progress.update(min(done, 1.0), float(bounds.low[worst]), float(bounds.high[worst]))
            if len(points) == len(self.request.points):
                self.history.append(Snapshot(self.request.clock.elapsed, bounds.low, bounds.high, "certificate"))

        found = gather(self.request, drawn(count - (0 if before is None else before.count)), count, before, seen=seen,
                       least=lambda: next(drawn(1, 1)))  # fmt: skip
        self.interrupted |= found.interrupted
        bounds = plan.certificate.bounds(found.moments, plan.y0, self.request.z)
        return _rounded(bounds, plan.sampler.starts.shape[1]), found.moments, found.complete

    def _verdict(self, bounds: Bounds, moments: Moments, met: bool, complete: bool, unseen: bool) -> Result:
        if moments.invalid:
            return Result.not_finite
        if met:
            return Result.tolerance_met
        if moments.heavy[:, 0].any() or unseen:
            return Result.heavy_tailed
        if self.interrupted:
            return Result.interrupted
        if not complete or self.request.clock.elapsed > 0.9 * self.request.limit:
            return Result.time_limit
        limited = bounds.bias > 0.5 * allowed(bounds.value, self.request.tolerance)
        return Result.bias_limited if limited.any() else Result.sampling_limited


def _unseen(moments: Moments) -> bool:
    """Whether no path met anything that makes u vary.

    A surrogate that is exact leaves rounding. No scatter at all means that g and f were constant where paths went: a
    rare event that has not been seen, for all that one can tell.
    """
    return bool((moments.deviation[:, 0] == 0).any())


def _growth(bounds: Bounds, moments: Moments) -> float:
    """By how much to enlarge a sample that fell short: by half, but by more where few paths carry an average."""
    if np.isfinite(bounds.half_width).all():
        return 1.5
    carried = moments.kurtosis[np.isfinite(moments.kurtosis)]
    return float(np.clip(1.5 * FEW * carried.max(initial=0.0) / moments.count, 1.5, MOST_GROWTH))


def _rounded(bounds: Bounds, dim: int) -> Bounds:
    """The interval widened by what paths in single precision can carry: a few units in the last place of the value, and
    the rounding of sums over all coordinates, which grows like the root of their number."""
    rounding = max(4.0, 0.4 * np.sqrt(dim)) * np.finfo(np.float32).eps * np.abs(bounds.value)
    budget = {**bounds.budget, "rounding": rounding}
    return Bounds(bounds.value, bounds.low - rounding, bounds.high + rounding, budget, bounds.guarantee)


def _taken(bounds: Bounds, points: Int[np.ndarray, " k"]) -> Bounds:
    budget = {name: part[points] for name, part in bounds.budget.items()}
    return Bounds(bounds.value[points], bounds.low[points], bounds.high[points], budget, bounds.guarantee)


def _first(bounds: Bounds, count: int) -> Bounds:
    return _taken(bounds, np.arange(count))


def _joined(a: Bounds, b: Bounds) -> Bounds:
    """Both groups of points, with the weaker guarantee."""
    budget = {name: np.concatenate([part, b.budget[name]]) for name, part in a.budget.items()}
    value, low, high = (np.concatenate(pair) for pair in ((a.value, b.value), (a.low, b.low), (a.high, b.high)))
    guarantees = {a.guarantee, b.guarantee}
    weaker = max(guarantees, key=list(Guarantee).index)
    one_end_each = guarantees == {Guarantee.upper_bound, Guarantee.lower_bound}
    return Bounds(value, low, high, budget, Guarantee.estimate if one_end_each else weaker)
