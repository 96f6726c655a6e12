"""Certifies a frozen policy: its cost, and what no policy can beat, on fresh paths in numbers fixed beforehand."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import accumulate

import numpy as np
from jaxtyping import Float

from ._entropic import Entropic
from ._gather import gather, growth, insisted
from ._request import Request
from ._rounding import FEWEST as SCATTERED
from ._rounding import Blur, felt, widened
from ._solution import Result, Snapshot
from .certificates import Bounds, allowed
from .certificates._controlled import Rollouts
from .certificates.branched import Branched, interval
from .statistics import Moments, Purpose, stream

PerPoint = Float[np.ndarray, " n"]

PILOT = 2048            # paths over all points in a sample that only sizes others
PATIENCE = 600.0        # seconds that training, or the certificate, may take where there is no limit
ATTEMPTS = 3            # samples in all: what fell short is enlarged twice


@dataclass(frozen=True)
class ControlPlan:
    """What is to be certified, how, and on how many paths."""

    rolls: Rollouts             # under the policy, with its value surrogate
    bound: Branched | None      # of the gap; None where nothing is proved below
    entropic: Entropic | None   # theorem 8b, where it serves
    counts: tuple[int, int]     # paths, and dates that branch, a point
    rates: tuple[float, float]  # seconds a path, seconds a date
    fewest: int                 # paths in the smallest sample, and four times the dates
    floor: float                # no cost is below
    proved: bool                # what the gap rests on
    hurried: bool               # the limit of time, and nothing else, ended the training

    @property
    def seconds(self) -> float:
        """What the whole sample takes."""
        paths, dates = self.counts
        return float(len(self.rolls.starts) * (paths * self.rates[0] + dates * self.rates[1]))


@dataclass
class ControlFinal:
    """The final samples of one call of solve, and what they say."""

    request: Request
    history: list[Snapshot] = field(default_factory=list)
    interrupted: bool = False

    def certify(self, plan: ControlPlan) -> tuple[Bounds, tuple[int, int], Result]:
        """The interval, the paths and dates that a point took, and how it ended.

        Half as many paths again, or more where few carry the average, join a sample that fell short; a new one would
        forget what it met.
        """
        rounding, interrupted = insisted(lambda: self._rounding(plan))
        self.interrupted |= interrupted
        paths, dates = plan.counts
        if self.interrupted:
            paths, dates = min(paths, plan.fewest), min(dates, plan.fewest // 4)
        room = PATIENCE / max(plan.seconds, 1e-9)
        paths = int(min(paths, max(paths * room, plan.fewest)))
        dates = int(min(dates, max(dates * room, plan.fewest // 4)))
        cost, gap, attempt = None, None, 0
        while True:
            cost, gap, whole = self._sample(plan, (paths, dates), attempt, cost, gap)
            bounds, attempt = self._bounds(plan, cost, gap, rounding), attempt + 1
            self.history.append(Snapshot(self.request.clock.elapsed, bounds.low, bounds.high, "certificate"))
            self.request.show(bounds.low, bounds.high, None)
            asked = allowed(bounds.value, self.request.tolerance)
            met = bool((bounds.half_width <= asked).all())
            short = bounds.budget["policy gap"] + rounding < 0.8 * asked
            leading = 1 if plan.entropic is None else 2     # columns: the last one stands in for the first
            pays = short.all() or (plan.entropic is not None and cost.heavy[:, :leading].any())
            last = self.interrupted or not whole or attempt == ATTEMPTS
            if met or cost.invalid or last or not (pays and room > 1.5):
                break
            paths = int(growth(bounds, cost, leading).max() * cost.count)
            dates = 0 if gap is None else int(1.5 * gap.count)
        return bounds, (cost.count, 0 if gap is None else gap.count), self._verdict(plan, bounds, cost, gap, met, whole)

    def _sample(
        self, plan: ControlPlan, counts: tuple[int, int], attempt: int, cost: Moments | None, gap: Moments | None
    ) -> tuple[Moments, Moments | None, bool]:
        """Paths and dates brought to fixed numbers; whether they got there."""
        paths = counts[0] - (0 if cost is None else cost.count)
        dates = counts[1] - (0 if gap is None else gap.count)
        share = paths * plan.rates[0] / max(paths * plan.rates[0] + dates * plan.rates[1], 1e-12)
        key = stream(self.request.seed, Purpose.certificate, attempt)
        if plan.entropic is None:
            net = (np.stack([c[..., 0] - c[..., 1], c[..., 0]], axis=-1) for c in plan.rolls.costs(key, paths))
        else:
            net = plan.entropic.columns(plan.rolls, key, paths)
        until = self.request.clock.elapsed + share * self.request.left
        cost, whole = self._gather(net, counts[0], cost, until)
        if counts[1] and plan.bound is not None:
            bound, key = plan.bound, stream(self.request.seed, Purpose.certificate, attempt, 1)
            columns = (bound.columns(g, a) for g, a in plan.rolls.gradients(key, dates))
            gap, complete = self._gather(columns, counts[1], gap)
            whole = whole and complete
        return cost, gap, whole

    def _gather(
        self, columns: Iterable[np.ndarray], count: int, before: Moments | None, until: float | None = None
    ) -> tuple[Moments, bool]:
        def seen(moments: Moments) -> None:
            self.request.progress.update(min(moments.count / count, 1.0))

        drawn = accumulate((Moments.of(c) for c in columns), Moments.merge)
        found = gather(self.request, drawn, count, before, seen=seen, until=until)
        self.interrupted |= found.interrupted
        return found.moments, found.complete

    def _bounds(self, plan: ControlPlan, cost: Moments, gap: Moments | None, blur: PerPoint) -> Bounds:
        rounding = 4 * np.finfo(np.float32).eps * plan.rolls.problem.steps**0.5
        if plan.entropic is not None:
            bounds = plan.entropic.bounds(cost, self.request.z, plan.floor, rounding)
        else:
            bounds = interval(cost, gap, self.request.z, plan.floor, rounding, plan.proved)
        bounds = widened(bounds, blur)
        return replace(bounds, low=np.maximum(bounds.low, plan.floor))

    def _rounding(self, plan: ControlPlan) -> PerPoint:
        """How far the cost is off because states are in single precision.

        The cost is a function of the noise of all N steps, each blurred by the same fraction: the root of N times the
        bound for one.
        """
        rolls, points = plan.rolls, self.request.points
        key, steps = stream(self.request.seed, Purpose.baseline, 1), rolls.problem.steps
        few = max(rolls.rows // SCATTERED, 1)       # points at once

        def costs(points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n paths 2"]:
            near = replace(rolls, starts=points)
            return np.concatenate(list(near.costs(key, max(PILOT // len(points), 64))), axis=1)

        def mean(points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n 1"]:
            drawn = costs(points)
            return (drawn[..., :1] - drawn[..., 1:]).mean(axis=1)

        with self.request.clock.stage("certify"):
            parts = [points[i : i + few] for i in range(0, len(points), few)]
            ends = [replace(rolls, starts=part).ends(key) for part in parts]
            blurs = [
                Blur.of(part, end, end - part[:, None], steps, lasting=True)
                for part, end in zip(parts, ends, strict=True)
            ]
            blur = Blur(np.concatenate([b.share for b in blurs]), np.concatenate([b.still for b in blurs]))
            return blur.error(steps**0.5 * felt(costs(points)[..., 0]), points, mean)

    def _verdict(
        self, plan: ControlPlan, bounds: Bounds, cost: Moments, gap: Moments | None, met: bool, whole: bool
    ) -> Result:
        if cost.invalid or (gap is not None and gap.invalid):
            return Result.not_finite
        if met:
            return Result.tolerance_met
        if self.interrupted:
            return Result.interrupted
        few = cost.heavy[:, 0] & cost.heavy[:, -1]
        if plan.entropic is not None:       # nothing stands in for an exponential
            few = few | cost.heavy[:, 1]
        if few.any() and whole:
            return Result.heavy_tailed
        if not whole or plan.hurried or self.request.clock.elapsed > 0.9 * self.request.limit:
            return Result.time_limit
        fixed = np.maximum(bounds.budget["policy gap"], bounds.budget["rounding"])
        limited = fixed > 0.5 * allowed(bounds.value, self.request.tolerance)
        return Result.bias_limited if limited.any() else Result.sampling_limited
