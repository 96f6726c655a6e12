"""The tolerance loop of optimal stopping: find a rule and a martingale, then certify both on fresh paths."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ._devices import single
from ._gather import gather, growth, insisted
from ._request import Request
from ._rounding import Blur, widened
from ._solution import Estimate, Guarantee, Result, Snapshot, Solution
from .analysis._chance import varies
from .certificates import Bounds, DateSampler, StoppingBounds, Walk, allowed, last_date_moments, rows_for
from .methods import AbstractBackward, Backward, backward_plan
from .problems import StoppingProblem
from .report._record import record_of
from .statistics import Moments, Purpose, host_stream, stream
from .surrogates import AbstractContinuation, Nodes, StopRule

PerPoint = Float[np.ndarray, " n"]

NETS = (32, 128, 512)       # points of the net that integrates over one interval
STEPS = 8                   # of a stepped process over all dates, at least; two between dates
MOST_STEPS = 32             # between two dates
PILOT = 512                 # paths over all points that size the final sample
FEWEST = 1024               # paths for one point in a final sample; 256 where there are many points
SPARE = 0.85                # of the tolerance: what a planned certificate may use
WORTH = 0.6                 # of the gap: a finer net that leaves more of it was the last to try
SAVING = 0.5                # part of the certificate's time that more work on the rule is expected to save
PATIENCE = 600.0            # seconds: the certificate that a run without a time limit may plan


@dataclass
class _Plan:
    """A frozen rule with a net, and what pilot paths say it would cost to certify."""

    method: AbstractBackward
    surrogate: AbstractContinuation
    sampler: DateSampler
    level: int
    count: int | None           # paths a point; None: no number will do
    seconds: float              # for them; inf where there is no such number
    bounds: Bounds              # on the pilot
    bias: float                 # of the half-width that sampling cannot shrink, over the tolerance; the worst point
    finite: bool
    scatter: PerPoint           # of what the rule is paid

    @property
    def rank(self) -> tuple[float, float]:
        """Lower is better."""
        return self.seconds, self.bias


@dataclass
class Stopping:
    """One call of solve for a stopping problem: the loop, its clock and its history."""

    problem: StoppingProblem
    request: Request
    methods: tuple[AbstractBackward, ...]
    history: list[Snapshot] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    reason: str = "every size of regression was tried"
    interrupted: bool = False
    pilots: int = 0
    best: _Plan | None = None
    rounding: PerPoint = field(default_factory=lambda: np.zeros(1))      # of the paths of the plan that is certified

    @staticmethod
    def of(problem: StoppingProblem, request: Request) -> "Stopping":
        return Stopping(problem, request, backward_plan(request.method))

    def go(self) -> Solution:
        """Propose, certify, report."""
        self.request.progress.stage("compile and pilot")
        baseline = self._baseline()
        try:
            self._propose()
        except KeyboardInterrupt:
            self.interrupted, self.reason = True, "interrupted while proposing"
            if self.best is None:       # nothing to certify yet: a small rule takes a moment; a second Ctrl-C ends it
                first = Backward(features=16, paths=1024, points=8)
                self.best = self._pilot(first, self._fit(first, 0, self._steps), 0, NETS[0], self._steps)
        assert self.best is not None
        bounds, count, result = self._certify(self.best)
        return self._solution(bounds, baseline, count, result)

    # --- proposing

    def _propose(self) -> None:
        """Larger regressions and finer nets, for as long as a second of them saves more than a second of sampling."""
        steps = self._steps
        for level, method in enumerate(self.methods):
            self.request.progress.stage(str(method))
            begin = self.request.clock.working
            surrogate = self._fit(method, level, steps)
            price = self.request.clock.working - begin
            plan = self._finest(method, surrogate, level, steps)
            while not self.problem.process.exact and steps < MOST_STEPS and self._step_limited(plan):
                steps *= 2
                self.request.progress.stage(f"{steps} steps between dates")
                surrogate = self._fit(method, level, steps)
                plan = self._finest(method, surrogate, level, steps)
            if self._enough(4 * price):
                return

    def _fit(self, method: AbstractBackward, level: int, steps: int) -> AbstractContinuation:
        with self.request.clock.stage("train"):
            return method.fit(self.problem, self.request.points, steps, self.request.seed, level)

    def _finest(self, method: AbstractBackward, surrogate: AbstractContinuation, level: int, steps: int) -> _Plan:
        """The net that makes the certificate cheapest; a finer one is tried while the gap shrinks with it."""
        found: list[_Plan] = []
        for points in NETS:
            begin = self.request.clock.elapsed
            plan = self._pilot(method, surrogate, level, points, steps)
            found.append(plan)
            if self.best is None or plan.rank < self.best.rank:
                self.best = plan
            gap = [self._gap(p) for p in found[-2:]]
            stuck = len(found) > 1 and gap[1] > WORTH * gap[0]
            slower = len(found) > 1 and plan.seconds > 0.7 * found[-2].seconds and np.isfinite(plan.seconds)
            price = self.request.clock.elapsed - begin
            if not plan.finite or stuck or slower or SAVING * plan.seconds <= price or self._out_of_time():
                break
        return min(found, key=lambda p: p.rank)

    def _gap(self, plan: _Plan) -> float:
        return float(np.max(plan.bounds.budget["duality gap"] / allowed(plan.bounds.value, self.request.tolerance)))

    def _step_limited(self, plan: _Plan) -> bool:
        """Whether the time step alone takes half of the tolerance."""
        step = plan.bounds.budget["time step"] / allowed(plan.bounds.value, self.request.tolerance)
        return plan.finite and float(np.max(step)) > 0.5 and not self._out_of_time()

    def _enough(self, price: float) -> bool:
        """Whether to stop proposing, where the next regression costs `price` seconds. Sets the reason."""
        best = self.best
        assert best is not None
        if SAVING * best.seconds <= price:
            self.reason = f"certifying takes {best.seconds:.1f} s, a larger regression {price:.1f} s"
        elif self.request.clock.elapsed + price + min(best.seconds, 0.5 * self.request.limit) > self.request.limit:
            self.reason = "the time limit left no room for a larger regression"
        elif not best.finite:
            self.reason = "payoffs are not finite"
        else:
            return False
        return True

    def _out_of_time(self) -> bool:
        return self.request.clock.elapsed > 0.5 * self.request.limit

    def _pilot(
        self, method: AbstractBackward, surrogate: AbstractContinuation, level: int, points: int, steps: int
    ) -> _Plan:
        """Fresh pilot paths: how many a certificate needs, and what they take."""
        self.pilots += 1
        n, words = len(self.request.points), (self.request.seed, Purpose.frame, 1000 + self.pilots)
        walk = Walk.of(self.problem, surrogate.nodes, steps, points, host_stream(*words))
        widest = max(self.problem.dim, surrogate.theta.shape[1])
        sampler = DateSampler(walk, self.request.points, rows_for(widest, points))
        key = stream(self.request.seed, Purpose.pilot, self.pilots)
        begin = self.request.clock.working
        with self.request.clock.stage("certify"):
            *_, moments = sampler.moments(surrogate, key, max(PILOT // n, 64), self._certificate)
        rate = (self.request.clock.working - begin) / (moments.count * n)
        bounds = self._certificate.bounds(moments, self.request.z, self._now)
        count = self._needed(moments)
        asked = allowed(bounds.value, self.request.tolerance)
        bias = float(np.max((bounds.budget["duality gap"] + bounds.budget["time step"]) / asked))
        seconds = np.inf if count is None or count * n * rate > PATIENCE else count * n * rate
        plan = _Plan(method, surrogate, sampler, level, count, seconds, bounds, bias, moments.invalid == 0,
                     moments.deviation[:, StoppingBounds.PAYS])
        self.history.append(Snapshot(self.request.clock.elapsed, bounds.low, bounds.high, "pilot"))
        self.log.append({
            "method": method.name, "round": level, "features": method.size, "steps": steps,
            "net": points, "gap": self._gap(plan), "predicted_seconds": seconds,
            "at_seconds": self.request.clock.elapsed,
        })
        self.request.show(bounds.low, bounds.high, None, f"net of {points}")
        return plan

    def _needed(self, moments: Moments) -> int | None:
        """Paths a point with which the half-width should be within the tolerance."""
        if moments.invalid:
            return None
        fewest = FEWEST if len(self.request.points) == 1 else 256
        for doublings in range(16):
            count = fewest * 2**doublings
            bounds = self._certificate.bounds(moments.scaled(count), self.request.z, self._now)
            if (bounds.half_width <= SPARE * allowed(bounds.value, self.request.tolerance)).all():
                return count
        return None

    @property
    def _certificate(self) -> StoppingBounds:
        return StoppingBounds.of(self.problem.process.exact)

    @property
    def _steps(self) -> int:
        """Steps between two dates to begin with: an even number where the process is stepped."""
        return 1 if self.problem.process.exact else 2 * max(-(-STEPS // (2 * len(np.asarray(self.problem.dates)))), 1)

    @property
    def _now(self) -> PerPoint:
        """What stopping at t = 0 pays; -inf where one may not."""
        points = self.request.points
        if np.asarray(self.problem.dates)[0] > 0:
            return np.full(len(points), -np.inf)
        zero = jnp.zeros((), dtype=np.float32)
        paid = [float(self.problem.payoff(zero, single(x))) for x in points]
        return np.where(np.isfinite(paid), paid, -np.inf)

    def _baseline(self) -> Estimate:
        """What stopping at the last date alone is worth: the European value."""
        problem = self.problem
        last = replace(problem, dates=np.asarray(problem.dates)[-1:])
        steps = 1 if problem.process.exact else 2 * STEPS
        points, shifts = self.request.points, 64
        with self.request.clock.stage("certify"):
            rng = host_stream(self.request.seed, Purpose.baseline)
            walk = Walk.of(last, Nodes.of(last), steps, 256, rng)
            rows = min(rows_for(problem.dim, 256), shifts)
            moments = last_date_moments(walk, points, rows, stream(self.request.seed, Purpose.baseline), shifts)
        value, half = moments.mean[:, 0], self.request.z * moments.cautious_error[:, 0]
        return Estimate(value, value - half, value + half)

    # --- certifying

    def _certify(self, plan: _Plan) -> tuple[Bounds, int, Result]:
        """Fresh paths for a frozen rule and net, in a number fixed before; half as many, or more where few paths carry
        an average, join a sample that fell short."""
        self.request.progress.stage("certificate")
        self.rounding, interrupted = insisted(lambda: self._rounding(plan))
        self.interrupted |= interrupted
        hopeless = self.interrupted or plan.count is None or not plan.finite
        count = FEWEST if hopeless else plan.count or FEWEST
        attempt, moments = 0, None
        while True:
            moments, complete = self._sample(plan, count, attempt, moments)
            bounds = self._bounds(moments)
            asked = allowed(bounds.value, self.request.tolerance)
            met, hopeless = bool((bounds.half_width <= asked).all()), hopeless or bool((self.rounding > asked).any())
            if met or moments.invalid or not complete or hopeless or attempt == 2:
                break
            count, attempt = int(growth(bounds, moments, 2).max() * moments.count), attempt + 1
        unseen = self._unseen(moments)
        if moments.invalid or unseen:
            infinite = np.full_like(bounds.value, np.inf)
            low = -infinite if moments.invalid else np.maximum(-infinite, self._now)
            bounds, met = replace(bounds, low=low, high=infinite, guarantee=Guarantee.estimate), False
        return bounds, moments.count, self._verdict(bounds, moments, met, complete)

    def _sample(self, plan: _Plan, count: int, attempt: int, before: Moments | None) -> tuple[Moments, bool]:
        """A final sample brought to a fixed size; whether it got there."""
        def seen(moments: Moments) -> None:
            bounds = self._bounds(moments)
            self.history.append(Snapshot(self.request.clock.elapsed, bounds.low, bounds.high, "certificate"))
            self.request.show(bounds.low, bounds.high, moments.count / count)

        drawn = self._drawn(plan, count - (0 if before is None else before.count), attempt)
        found = gather(self.request, drawn, count, before, seen=seen,
                       least=lambda: next(self._drawn(plan, 1, attempt, 1)))  # fmt: skip
        self.interrupted |= found.interrupted
        return found.moments, found.complete

    def _drawn(self, plan: _Plan, count: int, *path: int) -> Iterator[Moments]:
        key = stream(self.request.seed, Purpose.certificate, *path)
        return plan.sampler.moments(plan.surrogate, key, count, self._certificate)

    def _bounds(self, moments: Moments) -> Bounds:
        """The interval, widened by what single precision can carry: paths, and sums of a few numbers of the value's
        size."""
        return widened(self._certificate.bounds(moments, self.request.z, self._now), self.rounding, 8.0)

    def _rounding(self, plan: _Plan) -> PerPoint:
        """How far the value is off because paths are in single precision.

        With the rule held fixed (the envelope theorem), what it is paid is a function of the noise of all intervals.
        Interval k has eta_k = eta T / (K h_k), and the bound of one interval becomes the root of the sum of squares.
        """
        sampler, key = plan.sampler, stream(self.request.seed, Purpose.baseline, 1)
        spans = np.diff(np.asarray(sampler.walk.nodes.times, dtype=np.float64))
        if not len(spans):
            return np.zeros_like(plan.scatter)
        horizon, points = float(spans.sum()), self.request.points
        intervals = float(np.sqrt(np.sum((spans.mean() / spans) ** 2)))

        def mean(points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n 2"]:
            near = replace(sampler, starts=points)
            *_, moments = near.moments(plan.surrogate, key, max(PILOT // len(points), 64), self._certificate)
            return moments.mean[:, StoppingBounds.ENDS]

        with self.request.clock.stage("certify"):
            blur = Blur.of_process(self.problem.process, horizon, points, len(spans) * sampler.walk.steps, key)
            return blur.error(intervals * plan.scatter, points, mean)

    def _unseen(self, moments: Moments) -> bool:
        """Whether no path met anything that makes the payoff vary, though something may: a rare event that was not
        seen, for all one can tell."""
        still = (moments.deviation[:, StoppingBounds.SCATTERS] == 0).all(axis=1)
        return not moments.invalid and bool(still.any()) and varies(self.problem)

    def _verdict(self, bounds: Bounds, moments: Moments, met: bool, complete: bool) -> Result:
        if moments.invalid:
            return Result.not_finite
        if met:
            return Result.tolerance_met
        if not (np.isfinite(bounds.low).all() and np.isfinite(bounds.high).all()):      # with or without M
            return Result.heavy_tailed
        if self.interrupted:
            return Result.interrupted
        if not complete or self.request.clock.elapsed > 0.9 * self.request.limit:
            return Result.time_limit
        limited = bounds.bias > 0.5 * allowed(bounds.value, self.request.tolerance)
        return Result.bias_limited if limited.any() else Result.sampling_limited

    # --- reporting

    def _solution(self, bounds: Bounds, baseline: Estimate, count: int, result: Result) -> Solution:
        best, shaped = self.best, self.request.shaped
        assert best is not None
        rule = StopRule(best.surrogate)
        stats = {
            "method": best.method.name, "reason": f"{best.method.name}: {self.reason}", "rounds": best.level + 1,
            "certificate": "StoppingBounds", "paths": count, "steps": best.sampler.walk.steps, "log": self.log,
            "net": 2 * best.sampler.walk.net.shape[0],
            "tolerance": {"rtol": self.request.tolerance[0], "atol": self.request.tolerance[1]},
        }
        return Solution(
            value=shaped(bounds.value), low=shaped(bounds.low), high=shaped(bounds.high),
            confidence=self.request.confidence, guarantee=bounds.guarantee.given(bounds.low, bounds.high),
            budget={k: shaped(v) for k, v in bounds.budget.items()}, assumptions=self._certificate.assumptions,
            baseline=Estimate(shaped(baseline.value), shaped(baseline.low), shaped(baseline.high)),
            result=result, at=shaped(self.request.points), problem=self.problem,
            field=best.surrogate, policy=rule, timing=self.request.timing, history=tuple(self.history), stats=stats,
            record=record_of(self.problem, self.request.seed, best.surrogate, rule),
        )
