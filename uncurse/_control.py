"""The loop for control problems: a policy is proposed, then its cost and what no policy can beat are certified."""

import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ._control_final import PATIENCE, PILOT, ControlFinal, ControlPlan
from ._entropic import Entropic
from ._request import Request
from ._solution import Estimate, Guarantee, Result, Snapshot, Solution
from .analysis._control import Decision, analyse_control
from .analysis._rays import refuse_unbounded
from .analysis._shift import Shift, find_shift
from .certificates import Bounds, allowed, rows_for
from .certificates._controlled import BRANCHES, Rollouts
from .certificates._words import assumptions
from .certificates.branched import Branched, chosen, split
from .certificates.control_linear_quadratic import linear_quadratic
from .certificates.drift_control import Shifted
from .methods import policy as training
from .methods import riccati
from .methods.feedback import feedbacks
from .problems import ControlProblem
from .report._record import record_of
from .statistics import Moments, Purpose, stream
from .surrogates import AbstractPolicy, AbstractSurrogate, Feedback, Quadratic

PerPoint = Float[np.ndarray, " n"]

DATES = 256             # dates over all points at which a pilot branches
FEWEST = 1024           # paths, and a quarter as many dates, for a point in a final sample
MOMENT, MANY = 2.0, 2**17       # seconds, and paths, that an exponential average takes at least: its tail is rarely met
GAP_SHARE = 0.6         # of the tolerance: a policy gap (half of it, as it counts) below which training ends
GAIN = 0.95             # a block of training that leaves more of the gap, or of the excess cost, was the last ...
PATIENT = 3             # ... if so many in a row did
SETTLED = 0.1           # of the tolerance: where no gap is known, a block that lowers the cost by less gained nothing


@dataclass
class _Proposal:
    """A policy and a value surrogate, with what pilot paths say of them."""

    policy: AbstractPolicy
    value: Quadratic
    name: str
    cost: PerPoint
    cost_spread: PerPoint
    gap: PerPoint               # inf where nothing is proved below
    gap_spread: PerPoint
    bound: Branched
    gradient: Float[np.ndarray, " m"]       # root mean square of the gradient over the modulus, for each control
    stationarity: float
    rates: tuple[float, float]              # seconds a path, seconds a date
    state: training.Training | None = None
    entropic: Entropic | None = None        # where controls shift the noise


@dataclass
class Control:
    """One call of solve for a control problem."""

    problem: ControlProblem
    request: Request
    decision: Decision | None = None
    history: list[Snapshot] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    reason: str = ""
    best: _Proposal | None = None
    pilots: int = 0
    interrupted: bool = False
    hurried: bool = False       # the limit of time, and nothing else, ended the training
    shift: Shift | None = None  # where costs are not convex, and controls shift the noise

    @staticmethod
    def of(problem: ControlProblem, request: Request) -> "Control":
        """The run, or a ValueError for a method that control problems do not have."""
        if request.method is not None and not problem.continuous:
            raise ValueError(f"control problems choose their own method: leave `method` out; got {request.method!r}")
        return Control(problem, request)

    def go(self) -> Solution:
        """Analyse, propose, certify, report."""
        self.request.progress.stage("analysis")
        if self.problem.continuous:
            from ._continuous import solve_limit

            return solve_limit(self.problem, self.request)
        self.decision = analyse_control(self.problem, self.request.points)
        if not self.decision.provable:
            shift = find_shift(self.problem, self.request.points)
            self.shift = shift if shift is not None and shift.priced else None
        low, high = self._box
        if self.decision.quadratic and not np.isfinite([low, high]).any():
            return self._exact()
        refuse_unbounded(self.problem, self.request.points)
        try:
            self._propose()
        except KeyboardInterrupt:
            self.interrupted = True
            self.reason = "interrupted while proposing"
            if self.best is None:
                self._keep(self._assess(self._idle(), self._no_value(), "nothing done"))
        bounds, counts, result = self._certify()
        return self._solution(bounds, self._baseline(), counts, result)

    # --- proposing

    def _propose(self) -> None:
        """Feedback first; a network on top of it for as long as that narrows the interval."""
        self.request.progress.stage("Riccati")
        assert self.decision is not None
        with self.request.clock.stage("train"):
            starts = feedbacks(self.problem, self.decision.quadratic, self.request.points.mean(axis=0))
        for policy, value, name in starts:
            self._keep(self._assess(policy, value, name))
        if self.best is None or self.shift is not None:
            self._keep(self._assess(self._idle(), self._no_value(), "nothing done"))
        assert self.best is not None
        if self._enough():
            return
        base = self.best.policy
        assert isinstance(base, Feedback)
        self.request.progress.stage("training")
        state = training.begin(self.problem, base, self.request.points, self.request.seed, self.best.gradient)
        value, idle = self.best.value, 0
        while idle < PATIENT:
            before = self.best
            limit = time.perf_counter() + max(0.6 * self.request.left, 0.0)
            with self.request.clock.stage("train"):
                state = training.step(
                    self.problem, state, value, self._base, self.request.points, self.request.seed, limit)
            found = self._assess(state.policy, value, "policy network")
            self._keep(replace(found, state=state))
            idle = 0 if self._gained(before) else idle + 1
            if self._enough():
                return
        self.reason = "training no longer paid"

    def _idle(self) -> Feedback:
        n, d, m = self.problem.steps, self.problem.dim, self.problem.control_dim
        return Feedback.of(self.problem, np.zeros((n, d)), np.zeros((n, m)), np.zeros((n, m, d)))

    def _no_value(self) -> Quadratic:
        return Quadratic.skeleton(self.problem, {})

    def _assess(self, policy: AbstractPolicy, value: Quadratic, name: str) -> _Proposal:
        """Pilot paths: the cost and its scatter, the gap, how it is bounded best, and what a path takes."""
        self.pilots += 1
        decision, n, m = self.decision, len(self.request.points), self.problem.control_dim
        assert decision is not None
        rolls, key = self._rollouts(policy, value), stream(self.request.seed, Purpose.pilot, self.pilots)
        with self.request.clock.stage("certify"):
            begin = self.request.clock.working
            if self.shift is None or self._base is None:
                costs = np.concatenate(list(rolls.costs(key, max(PILOT // n, 64))), axis=1)
                net, entropic = costs[..., 0] - costs[..., 1], None
            else:
                looking = stream(self.request.seed, Purpose.pilot, self.pilots, 2)
                net, entropic = Entropic.of(rolls, self.shift, self._base, key, looking)
            middle = self.request.clock.working
            key = stream(self.request.seed, Purpose.pilot, self.pilots, 1)
            rounds = list(rolls.gradients(key, max(DATES // n, 8)))
            end = self.request.clock.working
        g, a = (np.concatenate([r[i] for r in rounds], axis=1) for i in range(2))
        rates = (middle - begin) / net.size, (end - middle) / a[..., 0].size
        low, high = self._box
        bound = Branched(decision.modulus.value, low, high, self.problem.step, self.problem.steps, np.zeros(m, bool))
        bound = replace(bound, paired=chosen(bound, g, a))
        gaps = bound.columns(g, a)[..., 0]
        known = decision.provable and np.isfinite(gaps).all()
        gaps = gaps if known else np.full_like(gaps, np.inf)
        rms = np.sqrt(np.mean(g.mean(axis=2) ** 2, axis=(0, 1))) / self.problem.step
        found = _Proposal(
            policy, value, name, net.mean(axis=1), net.std(axis=1),
            np.maximum(gaps.mean(axis=1), 0.0), gaps.std(axis=1) if known else np.zeros(n), bound,
            rms / np.where(bound.modulus > 0, bound.modulus, np.inf),
            float(np.sqrt(max(np.mean(np.sum(bound.pressing(g, a), axis=-1)), 0.0))), rates, entropic=entropic,
        )
        if entropic is not None:
            found = replace(found, gap=entropic.gap(found.cost))
        self.log.append({
            "method": name, "round": self.pilots, "steps": self.problem.steps, "cost": float(found.cost.max()),
            "gap": float(found.gap.max()), "spread": float(found.cost_spread.max()),
            "predicted_seconds": self._seconds(found), "at_seconds": self.request.clock.elapsed,
        })
        known_low = np.where(np.isfinite(found.gap), found.cost - found.gap, -np.inf)
        self.history.append(Snapshot(self.request.clock.elapsed, known_low, found.cost, "pilot"))
        self.request.show(known_low, found.cost, None, name)
        return found

    @cached_property
    def _base(self) -> Shifted | None:
        """What paths need to know where controls shift the noise, before there is a policy."""
        return None if self.shift is None else Shifted.of(self.problem, self.shift.matrix, self.shift.modulus.value)

    def _keep(self, found: _Proposal) -> None:
        """The better of two: the narrower where a gap is known, else the cheaper; never a cost that is no number."""
        best = self.best
        finite = bool(np.isfinite(found.cost).all())
        if best is None:
            self.best = found if finite or found.name == "nothing done" else None
        elif finite:
            known = np.isfinite(best.gap).all() and np.isfinite(found.gap).all()
            better = found.gap.max() < best.gap.max() if known else found.cost.mean() < best.cost.mean()
            self.best = found if better else best

    def _gained(self, before: _Proposal) -> bool:
        """Whether a block of training was worth its time."""
        assert self.best is not None
        if np.isfinite(before.gap).all():
            return bool(self.best.gap.max() < GAIN * before.gap.max())
        noise = before.cost_spread / np.sqrt(PILOT / len(before.cost))
        worth = np.maximum(SETTLED * self._allowed(before), noise)
        return bool((before.cost - self.best.cost > worth).any())

    def _enough(self) -> bool:
        """Whether to stop proposing; sets the reason."""
        best, left = self.best, self.request.left
        assert best is not None
        seconds, first = self._seconds(best), self.request.clock.compile if best.state is None else 0.0
        if bool((best.gap / 2 <= GAP_SHARE * self._allowed(best)).all()) and seconds < PATIENCE:
            self.reason = "the policy gap is within the tolerance"
        elif min(seconds, 0.4 * self.request.limit) + first > left:
            self.reason, self.hurried = "the time limit left no room for more training", True
        elif self.request.clock.spent.get("train", 0.0) > PATIENCE:
            self.reason = f"training ended after {PATIENCE:.0f} s"
        else:
            return False
        return True

    # --- certifying

    def _allowed(self, p: _Proposal) -> PerPoint:
        return allowed(np.where(np.isfinite(p.gap), p.cost - p.gap / 2, p.cost), self.request.tolerance)

    def _counts(self, p: _Proposal) -> tuple[int, int]:
        """Paths and dates a point that a final sample takes."""
        if p.entropic is not None:
            within = lambda seconds: max(int(seconds / (len(p.cost) * p.rates[0])), self._fewest)      # noqa: E731
            entropic, fewest = p.entropic, min(within(MOMENT), MANY)
            needed = entropic.certificate.paths(entropic.pilot, self.request.z, self._allowed(p), fewest)
            return min(needed, within(PATIENCE)), 0
        spreads = p.cost_spread, p.gap_spread
        return split(p.gap, spreads, self._allowed(p), self.request.z, p.rates, self._fewest)

    def _seconds(self, p: _Proposal) -> float:
        counts = self._counts(p)
        return float(len(p.cost) * (counts[0] * p.rates[0] + counts[1] * p.rates[1]))

    @property
    def _fewest(self) -> int:
        return max(FEWEST // len(self.request.points), 128)

    def _certify(self) -> tuple[Bounds, tuple[int, int], Result]:
        """Fresh paths and fresh branches for the frozen policy."""
        best, decision = self.best, self.decision
        assert best is not None and decision is not None
        self.request.progress.stage("certificate")
        floor = 0.0 if decision.costs_positive else -np.inf
        plan = ControlPlan(
            self._rollouts(best.policy, best.value), best.bound if np.isfinite(best.gap).all() else None, best.entropic,
            self._counts(best), best.rates, self._fewest, floor, decision.proved, self.hurried,
        )
        final = ControlFinal(self.request, self.history, self.interrupted)
        found = final.certify(plan)
        self.interrupted = final.interrupted
        return found

    # --- reporting

    def _rollouts(self, policy: AbstractPolicy, value: Quadratic) -> Rollouts:
        wide = max(self.problem.dim, self.problem.control_dim)
        rows = rows_for(wide, self.problem.steps, 2**23, 1024)
        return Rollouts(self.problem, policy, value, self.request.points, max(rows, BRANCHES))

    @property
    def _box(self) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
        m, bounds = self.problem.control_dim, self.problem.control_bounds
        if bounds is None:
            return np.full(m, -np.inf), np.full(m, np.inf)
        return np.asarray(bounds[0], dtype=np.float64), np.asarray(bounds[1], dtype=np.float64)

    def _baseline(self) -> Estimate:
        """The cost of doing nothing: no control, kept within the bounds."""
        rolls = self._rollouts(self._idle(), self._no_value() if self.best is None else self.best.value)
        key = stream(self.request.seed, Purpose.baseline)
        with self.request.clock.stage("certify"):
            drawn = np.concatenate(list(rolls.costs(key, max(PILOT // len(rolls.starts), 64))), axis=1)
        moments = Moments.of(drawn[..., :1] - drawn[..., 1:])
        value, half = moments.mean[:, 0], self.request.z * moments.cautious_error[:, 0]
        return Estimate(value, value - half, value + half)

    def _exact(self) -> Solution:
        """A linear-quadratic problem without bounds: Riccati's recursion, and no sampling."""
        self.request.progress.stage("Riccati")
        problem, points = self.problem, self.request.points
        with self.request.clock.stage("certify"):
            lq = riccati.solve_lq(problem)
            bounds = linear_quadratic(lq, points, float(jnp.finfo(jnp.zeros(()).dtype).eps))
        policy = Feedback.of(problem, np.zeros((problem.steps, problem.dim)), -lq.k, -lq.K)
        value = Quadratic.of(lq.P, lq.p, lq.c, problem.step)
        self.reason = "linear dynamics, quadratic costs, no bounds: Riccati's recursion"
        met = bool((bounds.half_width <= allowed(bounds.value, self.request.tolerance)).all())
        self.history.append(Snapshot(self.request.clock.elapsed, bounds.low, bounds.high, "certificate"))
        baseline = self._baseline()
        return self._report(bounds, baseline, Result.tolerance_met if met else Result.bias_limited, policy, value, {
            "method": "Riccati", "certificate": "linear_quadratic", "paths": 0,
        }, ("dynamics are affine and costs quadratic: proved from their traces",))

    def _solution(self, bounds: Bounds, baseline: Estimate, counts: tuple[int, int], result: Result) -> Solution:
        best, decision = self.best, self.decision
        assert best is not None and decision is not None
        if result is Result.not_finite:
            infinite = np.full_like(bounds.high, np.inf)
            bounds = replace(bounds, low=-infinite, high=infinite, guarantee=Guarantee.estimate)
        stats = {
            "method": best.name, "rounds": 0 if best.state is None else best.state.round, "paths": counts[0],
            "dates": counts[1], "branches": BRANCHES, "stationarity": best.stationarity,
            "certificate": "Branched" if counts[1] else "policy cost" if best.entropic is None else "DriftControl",
        }
        shift = None if best.entropic is None else self.shift
        said = assumptions(decision, bounds, best.bound.modulus if shift is None else shift.modulus.value, shift)
        return self._report(bounds, baseline, result, best.policy, best.value, stats, said)

    def _report(
        self, bounds: Bounds, baseline: Estimate, result: Result, policy: AbstractPolicy, value: AbstractSurrogate,
        stats: dict[str, Any], assumptions: tuple[str, ...],
    ) -> Solution:
        shaped, request = self.request.shaped, self.request
        stats = {
            **stats, "reason": f"{stats['method']}: {self.reason}", "steps": self.problem.steps, "log": self.log,
            "tolerance": {"rtol": request.tolerance[0], "atol": request.tolerance[1]},
        }
        return Solution(
            value=shaped(bounds.value), low=shaped(bounds.low), high=shaped(bounds.high), confidence=request.confidence,
            guarantee=bounds.guarantee.given(bounds.low, bounds.high), assumptions=assumptions,
            budget={k: shaped(v) for k, v in bounds.budget.items()},
            baseline=Estimate(shaped(baseline.value), shaped(baseline.low), shaped(baseline.high)), result=result,
            at=shaped(request.points), problem=self.problem, field=value, policy=policy, timing=request.timing,
            history=tuple(self.history), stats=stats,
            record=record_of(self.problem, request.seed, value, policy),
        )
