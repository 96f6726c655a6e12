"""The tolerance loop: propose while that pays, then certify a frozen surrogate on fresh paths."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from ._final import Final, Plan, fewest, planned
from ._gather import insisted
from ._proposal import PROMISING, Proposal
from ._request import Request
from ._rounding import EPS, Blur, felt, ulps
from ._solution import Estimate, Guarantee, Result, Snapshot, Solution
from .analysis import Source, analyse
from .certificates import (
    SHARP,
    STEPS,
    TOGETHER,
    Bounds,
    Chunk,
    Model,
    Offer,
    Scheme,
    allowed,
    fallback,
    offers,
    rows_for,
    terminal_values,
    theorems,
)
from .methods import AbstractMethod, Setting, State
from .problems import ParabolicPDE
from .report._record import record_of
from .statistics import Moments, Purpose, host_stream, stream
from .surrogates import AbstractSurrogate

PerPoint = Float[np.ndarray, " n"]

MOST_STEPS = 80
PILOT = 2048                # paths over all points, at most, that size the final sample
SAVING = 0.5                # part of the certificate's time that one more block of training is expected to save ...
SWITCH = 0.1                # ... and another method is: its paths are dearer, and one block is not all its training
NEXT = 5.0                  # times the compilation so far: what the next method's programs will take to compile
GAIN = 0.95                 # of the scatter of S: a block of training that leaves more of it was the method's last
FOR_PROOF = 30.0            # seconds of training, or of sampling, that a proof is worth where an estimate would do ...
DEARER = 3.0                # ... plus so many times the sampling of the estimate
COARSE = 0.1                # of the tolerance: a bias below which fewer steps are tried ...
MUCH = 1e8                  # ... where paths times steps times d is more: the certificate takes some seconds
PATIENCE = 600.0            # seconds: the certificate that a run without a time limit may plan


@dataclass
class Run:
    """One call of solve: the loop, its clock and its history."""

    problem: ParabolicPDE
    request: Request
    methods: Sequence[AbstractMethod]
    history: list[Snapshot] = field(default_factory=list)
    reason: str = ""
    log: list[dict[str, Any]] = field(default_factory=list)
    pilots: int = 0
    interrupted: bool = False
    best: Proposal | None = None
    source: Source | None = None
    points: Float[np.ndarray, "k d"] = field(init=False)     # where surrogates are proposed: some of those asked for

    def go(self) -> Solution:
        """Propose, certify, report."""
        self.request.progress.stage("compile and pilot")
        self.source = analyse(self.problem, self.request.points)
        baseline = self._baseline()
        some = np.arange(len(baseline.value))
        if len(some) > TOGETHER:
            some = np.sort(host_stream(self.request.seed, Purpose.pilot).choice(some, TOGETHER, replace=False))
        self.points, guess = self.request.points[some], baseline.value[some]
        try:
            self._propose(guess)
            self._coarsen()
        except KeyboardInterrupt:
            self.interrupted = True
            if self.best is None:
                # Nothing to certify yet: the first surrogate takes a moment; a second Ctrl-C ends it.
                self._first(guess)
            self.reason = "interrupted while proposing"
        assert self.best is not None
        bounds, count, result = self._certify(self.best)
        return self._solution(bounds, baseline, count, result)

    # --- proposing

    def _propose(self, y0: PerPoint) -> None:
        """Try methods in turn, each for as long as a second of it saves more than a second of certificate."""
        for method in self.methods:
            self.request.progress.stage(method.name)
            begin, setting = self.request.clock.working, self._setting(self._steps())
            with self.request.clock.stage("train"):
                state = method.init(setting, None if self.best is None else self.best.surrogate, y0)
            proposal = self._assess(method, state, setting, y0)
            block = self.request.clock.working - begin
            poor = 0        # blocks in a row that gained little: one may be bad luck
            while True:
                poor = 0 if self._keep(proposal) else poor + 1
                if poor > 1 or proposal.state.finished:
                    break
                if self._enough(block):
                    return
                begin, y0 = self.request.clock.working, proposal.y0
                with self.request.clock.stage("train"):
                    state = method.step(setting, proposal.state, y0)
                proposal = self._assess(method, state, setting, y0)
                block = self.request.clock.working - begin
            assert self.best is not None
            y0 = self.best.y0
            if self.best.state.round > 0 or method is self.methods[-1]:
                self._refine()
            if self._enough(NEXT * self.request.clock.compile + block, SWITCH):
                return
        self.reason = "every method in the plan was tried"

    def _first(self, y0: PerPoint) -> None:
        """The first surrogate of the plan, and no more."""
        setting = self._setting(self._first_steps)
        self._keep(self._assess(self.methods[0], self.methods[0].init(setting, None, y0), setting, y0))

    def _refine(self) -> None:
        """Double the steps of time while a bias alone keeps the best surrogate from the tolerance."""
        best = self.best
        while best is not None and best.offer.count is None and not PROMISING <= best.offer.bias < np.inf:
            steps = 2 * best.setting.steps
            if steps > MOST_STEPS or self.request.clock.elapsed > 0.5 * self.request.limit:
                return
            self.request.progress.stage(f"{steps} steps")
            if not self._keep(self._assess(best.method, best.state, self._setting(steps), best.y0)):
                return
            best = self.best

    def _coarsen(self) -> None:
        """Halve the steps of a smooth problem that has bias to spare and much to sample: paths cost half, and scatter
        little more. Only a limit of time looks at the clock, so that a method asked for by name gives one answer."""
        best = self.best
        assert best is not None
        counts, steps, n = best.offer.counts, best.setting.steps, len(self.request.points)
        if counts is None or best.offer.bias >= COARSE or not self._sharp or steps <= SHARP // 2:
            return
        numbers = float(planned(counts, n).mean()) * n * steps * self.problem.dim
        if numbers < MUCH or self.request.left < self.request.clock.compile:
            return
        self.request.progress.stage(f"{steps // 2} steps")
        half = self._assess(best.method, best.state, self._setting(steps // 2), best.y0)
        enough = half.offer.counts is not None and half.offer.counts.sum() < 2 * counts.sum()
        if enough and half.offer.proved >= best.offer.proved:
            self.best = half

    def _enough(self, price: float, saving: float = SAVING) -> bool:
        """Whether to stop proposing, where the next block costs `price` seconds and saves that part of the certificate.
        Sets the reason."""
        assert self.best is not None
        spent, seconds = self.request.clock.elapsed, self.best.seconds
        waiting = self.best.promising and self.request.clock.spent.get("train", 0.0) + price < FOR_PROOF
        if saving * self.best.spare <= price and not waiting:
            self.reason = f"certifying takes {_about(seconds)}, more training {_about(price)}"
        elif spent + min(seconds, 0.5 * self.request.limit) > self.request.limit:
            self.reason = "the time limit left no room for more training"
        elif not np.isfinite(self.best.variance):
            self.reason = "paths are not finite"
        else:
            return False
        return True

    def _assess(self, method: AbstractMethod, state: State, setting: Setting, guess: PerPoint) -> Proposal:
        """Pilot paths for a surrogate: where y0 lies, which theorem to use, how many paths it needs."""
        y0, first_rate = self._centre(setting, state.surrogate, guess)
        chunk, rate = self._pilot(setting, state.surrogate, y0, PILOT, 64)
        rate = min(rate, first_rate)        # of two: the collector of garbage may have come in between
        n, each = len(self.request.points), chunk.fine.total.std(axis=1, dtype=np.float64)
        each = each / allowed(y0, self.request.tolerance)
        sampling = float(np.mean((self.request.z * each) ** 2)) * n * rate
        offer, proved_bias = self._choose(setting, state.surrogate, y0, chunk, rate, sampling)
        seconds = self._seconds(offer, rate)
        spare = seconds - fewest(n) * n * rate
        relative = float(np.max(each) if n <= TOGETHER else np.sqrt(np.mean(each**2)))
        if len(y0) == n:
            self.history.append(Snapshot(self.request.clock.elapsed, offer.bounds.low, offer.bounds.high, "pilot"))
        self.log.append({
            "method": method.name, "round": state.round, "steps": setting.steps, "spread": relative,
            "certificate": type(offer.certificate).__name__, "predicted_seconds": seconds,
            "at_seconds": self.request.clock.elapsed,
        })
        self.request.show(offer.bounds.low, offer.bounds.high, None, method.name)
        source = 2 * np.sqrt(self.problem.horizon * chunk.fine.source2.mean(axis=1, dtype=np.float64))
        scatter = felt(chunk.fine.payoff) + source
        return Proposal(method, state, setting, y0, offer, rate, seconds, spare, relative, proved_bias, scatter)

    def _centre(self, setting: Setting, surrogate: AbstractSurrogate, y0: PerPoint) -> tuple[PerPoint, float]:
        """y0 such that E S = y0, to within its scatter; and the seconds that a path takes."""
        fastest = np.inf
        for _ in range(6):
            chunk, rate = self._pilot(setting, surrogate, y0, PILOT // 4, 32)
            fastest = min(fastest, rate)
            total = np.asarray(chunk.fine.total, dtype=np.float64)
            mean, spread = total.mean(axis=1), total.std(axis=1)
            settled = np.abs(mean - y0) <= (0.5 + 4 / np.sqrt(total.shape[1])) * spread + 1e-6 * np.abs(mean)
            y0 = mean
            if settled.all() or not np.isfinite(mean).all():
                break
        return y0, fastest

    def _choose(
        self, setting: Setting, surrogate: AbstractSurrogate, y0: PerPoint, chunk: Chunk, rate: float, sampling: float
    ) -> tuple[Offer, float]:
        """The strongest theorem that reaches the tolerance, else the nearest; and how near the best proof comes.

        sampling: seconds that S alone takes, and so any estimate.
        """
        assert self.source is not None
        self.pilots += 1
        key = stream(self.request.seed, Purpose.constants, self.pilots)
        found = theorems(self.problem, self.source, setting.sampler, surrogate, chunk, y0, key)
        spent, least = ulps(self.problem.dim) * EPS * np.abs(y0), fewest(len(self.request.points))
        offered = offers(found, chunk, y0, self.request.tolerance, self.request.z, spent, least)

        def within(seconds: float) -> list[Offer]:
            return [o for o in offered if self._seconds(o, rate) < seconds]

        exact = any(o.bounds.guarantee is Guarantee.unbiased for o in offered)
        left = max(self.request.left, 0.0)
        if not exact and not within(min(FOR_PROOF + DEARER * sampling, left)):
            mixed = fallback(self.problem, setting.sampler, surrogate, y0, key)
            offered += offers([mixed], chunk, y0, self.request.tolerance, self.request.z, spent, least)
        dear = min(PATIENCE, FOR_PROOF + DEARER * min((self._seconds(o, rate) for o in offered), default=np.inf))
        chosen = (within(min(dear, left)) or within(dear) or sorted(offered, key=lambda o: o.bias))[0]
        return chosen, min((o.bias for o in offered if o.proved), default=np.inf)

    def _seconds(self, offer: Offer, rate: float) -> float:
        """What the certificate takes at all points; inf where no number of paths will do."""
        n = len(self.request.points)
        return np.inf if offer.counts is None else float(planned(offer.counts, n).mean()) * n * rate

    def _keep(self, proposal: Proposal) -> bool:
        """Take a proposal that is better than the best so far; say whether it gained enough to go on the same way."""
        best = self.best
        if best is not None and proposal.rank >= best.rank:
            return False
        self.best = proposal
        if best is None or best.method is not proposal.method or proposal.rank[0] < best.rank[0]:
            return True
        return proposal.variance < GAIN * best.variance

    def _pilot(
        self, setting: Setting, surrogate: AbstractSurrogate, y0: PerPoint, paths: int, least: int
    ) -> tuple[Chunk, float]:
        """Fresh pilot paths, about `paths` over all points and `least` at each, and the seconds that one takes where
        all devices are busy."""
        self.pilots += 1
        n, begin = len(y0), self.request.clock.working
        count = max(paths // n, least) if setting.rows >= 64 else max(paths // (8 * n), 32)
        with self.request.clock.stage("certify"):
            chunk = setting.sampler.pilot(surrogate, y0, stream(self.request.seed, Purpose.pilot, self.pilots), count)
        return chunk, (self.request.clock.working - begin) / (chunk.fine.total.size * setting.sampler.idle(count))

    def _setting(self, steps: int) -> Setting:
        assert self.source is not None
        rows = rows_for(self.problem.dim, 2 * STEPS)
        return Setting(self.problem, self.source, self.points, steps, rows, self.request.seed)

    def _steps(self) -> int:
        """More steps where a bias is what keeps the best proposal from the tolerance."""
        if self.best is None:
            return self._first_steps
        bias = self.best.proved_bias if self.best.promising else self.best.offer.bias
        more = 1 if bias < 0.5 else 2 if bias < PROMISING else 4
        return min(self.best.setting.steps * more, MOST_STEPS)

    @property
    def _sharp(self) -> bool:
        """Whether few steps will do: they see second derivatives, and X is sampled exactly."""
        return self.problem.process.exact and Scheme.of(self._known, self.problem.process, STEPS).sharp

    @property
    def _first_steps(self) -> int:
        return SHARP if self._sharp else STEPS

    def _baseline(self) -> Estimate:
        """E g(X_T): the answer without f."""
        model, n = Model.of(self.problem), len(self.request.points)
        rows, key = rows_for(self.problem.dim, 1), stream(self.request.seed, Purpose.baseline)
        count = -(-max(8 * PILOT // n, 64) // max(rows // min(n, rows), 1))
        parts = []
        with self.request.clock.stage("certify"):
            for first in range(0, n, rows):
                block = self.request.points[first : first + rows]
                width = max(rows // len(block), 1)
                drawn = (terminal_values(model, STEPS, block, width, key, (first, i)) for i in range(count))
                values = [np.asarray(v).reshape(len(block), -1) for v in drawn]
                parts.append(np.concatenate(values, axis=1).astype(np.float64))
        moments = Moments.concatenate([Moments.of(p[..., None]) for p in parts])
        value, half = moments.mean[:, 0], self.request.z * moments.error[:, 0]
        return Estimate(value, value - half, value + half)

    # --- certifying

    def _certify(self, proposal: Proposal) -> tuple[Bounds, int, Result]:
        """Fresh paths for the frozen surrogate, at all points."""
        assert self.source is not None
        if len(self.points) < len(self.request.points):
            self.points = self.request.points
            guess = np.asarray(proposal.surrogate(0.0, self.points), dtype=np.float64)
            setting = self._setting(proposal.setting.steps)
            some = proposal
            proposal, interrupted = insisted(lambda: self._assess(some.method, some.state, setting, guess))
            self.interrupted |= interrupted
        self.request.progress.stage("certificate")
        whole = proposal
        rounding, interrupted = insisted(lambda: self._rounding(whole))
        self.interrupted |= interrupted
        plan = Plan(
            proposal.setting.sampler, proposal.surrogate, proposal.offer.certificate, proposal.y0,
            rounding, proposal.offer.counts, proposal.rate, not self.source.uniform,
            bool(np.isfinite(proposal.variance)), self._reach,
        )
        final = Final(self.request, self.history, self.interrupted)
        found = final.certify(plan)
        self.best, self.interrupted = proposal, final.interrupted
        return found

    def _rounding(self, proposal: Proposal) -> PerPoint:
        """How far u is off because paths are in single precision."""
        sampler, key = proposal.setting.sampler, stream(self.request.seed, Purpose.baseline, 1)
        steps = sampler.scheme.steps * (2 if sampler.scheme.random_time else 1)

        def mean(points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n 1"]:
            near = replace(sampler, starts=points)
            paths = near.pilot(proposal.surrogate, proposal.y0, key, max(PILOT // len(points), 64)).fine
            return paths.total.mean(axis=1, keepdims=True, dtype=np.float64)

        with self.request.clock.stage("certify"):
            blur = Blur.of_process(self.problem.process, self.problem.horizon, self.points, steps, key)
            return blur.error(proposal.felt, self.points, mean)

    @property
    def _known(self) -> Source:
        assert self.source is not None
        return self.source

    @property
    def _reach(self) -> tuple[float, float]:
        """In which u at t = 0 is known to lie."""
        found = self._known.initial_range
        return (-np.inf, np.inf) if found is None else (float(found.value[0]), float(found.value[1]))

    # --- reporting

    def _solution(self, bounds: Bounds, baseline: Estimate, count: int, result: Result) -> Solution:
        assert self.best is not None

        shaped = self.request.shaped
        low, high, guarantee = bounds.low, bounds.high, bounds.guarantee
        if result is Result.not_finite:
            low, high, guarantee = np.full_like(low, -np.inf), np.full_like(high, np.inf), Guarantee.estimate
        timing = self.request.timing
        best = self.best
        certificate = best.offer.certificate
        assumptions, (least, most) = certificate.assumptions, self._reach
        if (low <= least).any() or (high >= most).any():        # cut to the range of u
            assumptions = tuple(dict.fromkeys((*self._known.range_words, *assumptions)))
        stats = {
            "method": best.method.name, "reason": f"{best.method.name}: {self.reason}", "rounds": best.state.round,
            "certificate": type(certificate).__name__, "paths": count, "steps": best.setting.steps, "log": self.log,
            "tolerance": {"rtol": self.request.tolerance[0], "atol": self.request.tolerance[1]},
        }
        return Solution(
            value=shaped(bounds.value), low=shaped(low), high=shaped(high),
            confidence=self.request.confidence, guarantee=guarantee.given(low, high),
            budget={k: shaped(v) for k, v in bounds.budget.items()}, assumptions=assumptions,
            baseline=Estimate(shaped(baseline.value), shaped(baseline.low), shaped(baseline.high)),
            result=result, at=shaped(self.request.points), problem=self.problem,
            field=best.surrogate, timing=timing, history=tuple(self.history), stats=stats,
            record=record_of(self.problem, self.request.seed, best.surrogate),
        )


def _about(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 0.1 else "under 0.1 s"
