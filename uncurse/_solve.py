"""solve(): propose while that pays, then certify with frozen parameters and fresh paths."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Float

from . import _checks
from ._clock import Clock
from ._solution import Estimate, Guarantee, Result, Snapshot, Solution, Timing, ToleranceNotMetError
from .analysis import Source, analyse
from .certificates import Bounds, Chunk, Model, Offer, allowed, fallback, offers, rows_for, terminal_values, theorems
from .methods import AbstractMethod, Setting, State, plan
from .problems import ParabolicPDE
from .report import Progress
from .report._record import record_of
from .statistics import Moments, Purpose, half_width_factor, stream
from .surrogates import AbstractSurrogate

STEPS = 10                  # of time; few steps cost variance, not bias
MOST_STEPS = 80
PILOT = 4096                # paths over all points, at most, that size the final sample
FEWEST = 2048               # paths for one point in a final sample; 256 where there are many points
SAVING = 0.5                # part of the certificate's time that one more block of training is expected to save
PROMISING = 10.0            # times the tolerance: a proved bias below which training may bring the proof there
PATIENCE = 600.0            # seconds: the certificate that a run without a time limit may plan


def solve(
    problem: ParabolicPDE,
    at: ArrayLike,
    *,
    rtol: float = 1e-3,
    atol: float = 0.0,
    confidence: float = 0.99,
    method: str | AbstractMethod | None = None,
    seed: int = 0,
    time_limit: float | None = None,
    progress: bool = True,
    throw: bool = True,
) -> Solution:
    """u(0, x) of a problem at one point or many, with an interval that can be checked.

    Args:
        problem: the equation.
        at: where u is wanted at t = 0: (d,) or (n, d).
        rtol, atol: the half-width of the interval is at most max(atol, rtol |value|), for each point.
        confidence: of the interval, for each point.
        method: "smoothing", "picard", "features", "network", a method object, or None to let the run choose.
        seed: of every random number; the same seed gives the same answer on the same machine.
        time_limit: seconds; when they are over, the best honest interval comes back.
        progress: show what is going on, on standard error.
        throw: raise `ToleranceNotMetError` where the tolerance was not met; False returns the solution in any case.

    Returns:
        A `Solution`. After Ctrl-C, the best honest interval so far.

    Raises:
        TypeError, ValueError: bad input, before anything is compiled.
        ToleranceNotMetError: see `throw`; its `solution` holds what was found.
    """
    if not isinstance(problem, ParabolicPDE):
        raise TypeError(f"problem must be a uc.ParabolicPDE; got {type(problem).__name__}")
    points = _checks.points(at, problem.dim)
    tolerance = (
        _checks.number("rtol", rtol, above=0.0 if not atol else -np.finfo(float).tiny),
        _checks.number("atol", atol, at_least=0.0),
    )
    confidence = _checks.number("confidence", confidence, above=0.0, below=1.0)
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise ValueError(f"seed must be a whole number from 0 to 2^32 - 1; got {seed!r}")
    limit = np.inf if time_limit is None else _checks.number("time_limit", time_limit, above=0.0)
    methods = plan(method)
    run = _Run(problem, np.atleast_2d(points), tolerance, confidence, int(seed), limit, methods)
    with Progress(progress, f"rtol {rtol:g}" if not atol else f"max({atol:g}, {rtol:g} |u|)") as run.progress:
        solution = run.go(one_point=points.ndim == 1)
    if throw and solution.result not in (Result.tolerance_met, Result.interrupted):
        raise ToleranceNotMetError(solution)
    return solution


@dataclass
class _Proposal:
    """A surrogate with what pilot paths say it would cost to certify."""

    method: AbstractMethod
    state: State
    setting: Setting
    y0: Float[np.ndarray, " n"]
    offer: Offer
    seconds: float              # predicted for the certificate; inf where no number of paths will do
    variance: float             # relative scatter of S, the worst point: what training reduces

    proved_bias: float          # of the best proved certificate, over the tolerance

    @property
    def surrogate(self) -> AbstractSurrogate:
        return self.state.surrogate

    @property
    def promising(self) -> bool:
        """A proved certificate does not reach the tolerance yet, but training may bring it there."""
        return not self.offer.proved and self.proved_bias < PROMISING

    @property
    def rank(self) -> tuple[float, ...]:
        """Lower is better: proved before promising before estimated, then by what is still to be done."""
        if self.offer.proved and np.isfinite(self.seconds):
            return (0.0, self.seconds, self.variance)
        return (1.0, self.proved_bias, self.variance) if self.promising else (2.0, self.seconds, self.offer.bias, self.variance)


@dataclass
class _Run:
    """One call of solve: the loop, its clock and its history."""

    problem: ParabolicPDE
    points: Float[np.ndarray, "n d"]
    tolerance: tuple[float, float]
    confidence: float
    seed: int
    limit: float
    methods: Sequence[AbstractMethod]
    clock: Clock = field(default_factory=Clock)
    progress: Any = None
    history: list[Snapshot] = field(default_factory=list)
    reason: str = ""
    log: list[dict[str, Any]] = field(default_factory=list)
    pilots: int = 0
    interrupted: bool = False
    best: _Proposal | None = None
    source: Source | None = None

    @property
    def z(self) -> float:
        return half_width_factor(self.confidence)

    def go(self, one_point: bool) -> Solution:
        """Propose, certify, report."""
        self.progress.stage("compile and pilot")
        self.source = analyse(self.problem, self.points)
        baseline = self._baseline()
        try:
            self._propose(baseline.value)
        except KeyboardInterrupt:
            self.interrupted = True
            if self.best is None:       # nothing to certify yet: the first surrogate takes a moment; a second Ctrl-C ends it
                self._first(baseline.value)
            self.reason = "interrupted while proposing"
        assert self.best is not None
        bounds, count, result = self._certify(self.best)
        return self._solution(bounds, baseline, count, result, one_point)

    # --- proposing

    def _propose(self, y0: Float[np.ndarray, " n"]) -> None:
        """Try methods in turn, each for as long as a second of it saves more than a second of certificate."""
        for method in self.methods:
            self.progress.stage(method.name)
            begin, setting = self._working, self._setting(self._steps())
            with self.clock.stage("train"):
                state = method.init(setting, None if self.best is None else self.best.surrogate, y0)
            proposal = self._assess(method, state, setting, y0)
            block = self._working - begin
            while self._keep(proposal) and not proposal.state.finished:
                if self._enough(block):
                    return
                begin, y0 = self._working, proposal.y0
                with self.clock.stage("train"):
                    state = method.step(setting, proposal.state, y0)
                proposal = self._assess(method, state, setting, y0)
                block = self._working - begin
            assert self.best is not None
            y0 = self.best.y0
            if self.best.state.round > 0 or method is self.methods[-1]:
                self._refine()
            if self._enough(1.2 * self.clock.compile + block):
                return
        self.reason = "every method in the plan was tried"

    def _first(self, y0: Float[np.ndarray, " n"]) -> None:
        """The first surrogate of the plan, and no more."""
        setting = self._setting(STEPS)
        self._keep(self._assess(self.methods[0], self.methods[0].init(setting, None, y0), setting, y0))

    def _refine(self) -> None:
        """Double the steps of time while a bias alone keeps the best surrogate from the tolerance."""
        best = self.best
        while best is not None and best.offer.count is None and best.offer.bias < PROMISING:
            steps = 2 * best.setting.steps
            if steps > MOST_STEPS or self.clock.elapsed > 0.5 * self.limit:
                return
            self.progress.stage(f"{steps} steps")
            if not self._keep(self._assess(best.method, best.state, self._setting(steps), best.y0)):
                return
            best = self.best

    @property
    def _working(self) -> float:
        """Seconds so far without compilation."""
        return self.clock.elapsed - self.clock.compile

    def _enough(self, price: float) -> bool:
        """Whether to stop proposing, where the next block costs `price` seconds. Sets the reason."""
        assert self.best is not None
        spent, seconds = self.clock.elapsed, self.best.seconds
        if SAVING * seconds <= price and not self.best.promising:
            self.reason = f"a certificate of {_about(seconds)} against {_about(price)} for more training"
        elif spent + min(seconds, 0.5 * self.limit) > self.limit:
            self.reason = "the time limit left no room for more training"
        elif not np.isfinite(self.best.variance):
            self.reason = "paths are not finite"
        else:
            return False
        return True

    def _assess(self, method: AbstractMethod, state: State, setting: Setting, guess: Float[np.ndarray, " n"]) -> _Proposal:
        """Pilot paths for a surrogate: where y0 lies, which theorem to use, how many paths it needs."""
        sampler, y0 = setting.sampler, guess
        for _ in range(6):
            begin = self._working
            chunk = self._pilot(setting, state.surrogate, y0)
            rate = (self._working - begin) / chunk.fine.total.size
            mean, spread = chunk.fine.total.mean(axis=1, dtype=np.float64), chunk.fine.total.std(axis=1, dtype=np.float64)
            settled = np.abs(mean - y0) <= 0.5 * spread + 1e-6 * np.abs(mean)
            y0 = mean
            if settled.all() or not np.isfinite(mean).all():
                break
        chunk = self._pilot(setting, state.surrogate, y0)
        self.pilots += 1
        key = stream(self.seed, Purpose.constants, self.pilots)
        assert self.source is not None
        found = theorems(self.problem, self.source, sampler, state.surrogate, chunk, y0, key)
        offered = offers(found, chunk, y0, self.tolerance, self.z)

        def affordable(offer: Offer) -> bool:
            return offer.count is not None and offer.count * len(y0) * rate < PATIENCE

        if not any(affordable(o) for o in offered) and not any(o.bounds.guarantee is Guarantee.unbiased for o in offered):
            mixed = fallback(self.problem, sampler, state.surrogate, y0, key)
            offered += offers([mixed], chunk, y0, self.tolerance, self.z)
        offer = ([o for o in offered if affordable(o)] or sorted(offered, key=lambda o: o.bias))[0]
        proved_bias = min((o.bias for o in offered if o.proved), default=np.inf)
        seconds = np.inf if offer.count is None else max(offer.count, self._fewest) * len(y0) * rate
        relative = float(np.max(spread / allowed(mean, self.tolerance)))
        proposal = _Proposal(method, state, setting, y0, offer, seconds, relative, proved_bias)
        self.history.append(Snapshot(self.clock.elapsed, offer.bounds.low, offer.bounds.high, "pilot"))
        self.log.append({"method": method.name, "round": state.round, "spread": relative, "certificate": type(offer.certificate).__name__,
                         "predicted_seconds": seconds, "at_seconds": self.clock.elapsed, "steps": setting.steps})
        worst = int(np.argmax(offer.bounds.half_width))
        self.progress.update(None, float(offer.bounds.low[worst]), float(offer.bounds.high[worst]), f"{method.name}")
        return proposal

    def _keep(self, proposal: _Proposal) -> bool:
        """Take a proposal if it is better than the best so far; say whether it was."""
        best = self.best
        better = best is None or proposal.rank < best.rank
        if better:
            self.best = proposal
        return better

    def _pilot(self, setting: Setting, surrogate: AbstractSurrogate, y0: Float[np.ndarray, " n"]) -> Chunk:
        self.pilots += 1
        with self.clock.stage("certify"):
            count = max(PILOT // len(y0), 64) if setting.rows >= 256 else max(512 // len(y0), 32)
            return setting.sampler.pilot(surrogate, y0, stream(self.seed, Purpose.pilot, self.pilots), count)

    def _setting(self, steps: int) -> Setting:
        assert self.source is not None
        rows = rows_for(self.problem.dim, 8)
        return Setting(self.problem, self.source, self.points, steps, rows, self.seed)

    def _steps(self) -> int:
        """More steps where a bias is what keeps the best proposal from the tolerance."""
        if self.best is None:
            return STEPS
        bias = self.best.proved_bias if self.best.promising else self.best.offer.bias
        more = 1 if bias < 0.5 else 2 if bias < PROMISING else 4
        return min(self.best.setting.steps * more, MOST_STEPS)

    @property
    def _fewest(self) -> int:
        return FEWEST if len(self.points) == 1 else 256

    def _baseline(self) -> Estimate:
        """E g(X_T): the answer without f."""
        model, n = Model.of(self.problem), len(self.points)
        rows = rows_for(self.problem.dim, 1)
        count = -(-max(4 * PILOT // n, 64) // max(rows // min(n, rows), 1))
        parts = []
        with self.clock.stage("certify"):
            for first in range(0, n, rows):
                block = self.points[first : first + rows]
                starts = np.repeat(block, max(rows // len(block), 1), axis=0).astype(np.float32)
                keys = (stream(self.seed, Purpose.baseline, first, i) for i in range(count))
                values = [np.asarray(terminal_values(model, STEPS, starts, k)).reshape(len(block), -1) for k in keys]
                parts.append(np.concatenate(values, axis=1).astype(np.float64))
        moments = Moments.concatenate([Moments.of(p[..., None]) for p in parts])
        value, half = moments.mean[:, 0], self.z * moments.error[:, 0]
        return Estimate(value, value - half, value + half)

    # --- certifying

    def _certify(self, proposal: _Proposal) -> tuple[Bounds, int, Result]:
        """Fresh paths for a frozen surrogate; the size is fixed before they are drawn, and a sample that fell short is redone."""
        offer = proposal.offer
        count, width = max(offer.count or self._fewest, self._fewest), proposal.setting.sampler.width
        if self.interrupted or offer.count is None or not np.isfinite(proposal.variance):
            count = max(self._fewest, 4 * width)
        for attempt in range(3):
            bounds, moments, complete = self._sample(proposal, count, attempt)
            good = bool((bounds.half_width <= allowed(bounds.value, self.tolerance)).all())
            if moments.invalid:
                return bounds, moments.count, Result.not_finite
            if good:
                return bounds, moments.count, Result.tolerance_met
            if not complete or offer.count is None:
                break
            count = int(1.5 * count)
        if self.interrupted:
            return bounds, moments.count, Result.interrupted
        if not complete or self.clock.elapsed > 0.9 * self.limit:
            return bounds, moments.count, Result.time_limit
        limited = bounds.bias > 0.5 * allowed(bounds.value, self.tolerance)
        return bounds, moments.count, Result.bias_limited if limited.any() else Result.sampling_limited

    def _sample(self, proposal: _Proposal, count: int, attempt: int) -> tuple[Bounds, Moments, bool]:
        """One final sample of a fixed size, cut short only by the clock or the user."""
        certificate, y0, sampler = proposal.offer.certificate, proposal.y0, proposal.setting.sampler
        self.progress.stage("certificate")
        key = stream(self.seed, Purpose.certificate, attempt)
        moments: Moments | None = None
        complete = True
        with self.clock.stage("certify"):
            try:
                for moments in sampler.moments(proposal.surrogate, y0, key, count, certificate):
                    bounds = certificate.bounds(moments, y0, self.z)
                    self.history.append(Snapshot(self.clock.elapsed, bounds.low, bounds.high, "certificate"))
                    worst = int(np.argmax(bounds.half_width))
                    self.progress.update(moments.count / count, float(bounds.low[worst]), float(bounds.high[worst]))
                    if self.clock.elapsed > self.limit and moments.count < count:
                        complete = False
                        break
            except KeyboardInterrupt:
                self.interrupted, complete = True, False
                if moments is None:     # one round of paths is soon drawn; a second Ctrl-C ends it
                    key = stream(self.seed, Purpose.certificate, attempt, 1)
                    moments = next(sampler.moments(proposal.surrogate, y0, key, 1, certificate))
        assert moments is not None
        return certificate.bounds(moments, y0, self.z), moments, complete

    # --- reporting

    def _solution(self, bounds: Bounds, baseline: Estimate, count: int, result: Result, one_point: bool) -> Solution:
        assert self.best is not None

        def shaped(a: Float[np.ndarray, " n"]) -> Float[np.ndarray, "*points"]:
            return a[0] if one_point else a

        low, high, guarantee = bounds.low, bounds.high, bounds.guarantee
        if result is Result.not_finite:
            low, high, guarantee = np.full_like(low, -np.inf), np.full_like(high, np.inf), Guarantee.estimate
        spent = self.clock.spent
        timing = Timing(self.clock.elapsed, self.clock.compile, spent.get("train", 0.0), spent.get("certify", 0.0))
        best = self.best
        stats = {
            "method": best.method.name, "reason": f"{best.method.name}: {self.reason}", "rounds": best.state.round,
            "certificate": type(best.offer.certificate).__name__, "paths": count, "steps": best.setting.steps, "log": self.log,
            "tolerance": {"rtol": self.tolerance[0], "atol": self.tolerance[1]},
        }
        return Solution(
            value=shaped(bounds.value), low=shaped(low), high=shaped(high), confidence=self.confidence, guarantee=guarantee,
            budget={k: shaped(v) for k, v in bounds.budget.items()}, assumptions=best.offer.certificate.assumptions,
            baseline=Estimate(shaped(baseline.value), shaped(baseline.low), shaped(baseline.high)), result=result,
            at=self.points[0] if one_point else self.points, problem=self.problem, field=best.surrogate, timing=timing,
            history=tuple(self.history), stats=stats, record=record_of(self.problem, self.seed, best.surrogate),
        )


def _about(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 0.1 else "under 0.1 s"
