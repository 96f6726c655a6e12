"""Problems on which the coverage of intervals is counted: shared by tests/test_coverage.py and benchmarks/coverage.py.

One a guarantee and a kind of process, in low dimension, each with a truth that does not come from Monte Carlo. The
surrogates are deliberately poor, so that the remainder of a theorem, and not noise alone, decides.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np
from _problems import Formula, T, bent, bounds_of, known, made, paths_of, sampler_of, wave

import uncurse as uc
from uncurse import Guarantee
from uncurse.certificates import Directional, GradientSmooth, Kinked, Linear, Lipschitz, Stepped, Value, fallback
from uncurse.classical import grid
from uncurse.surrogates import AbstractSurrogate, Smoothed

LEVEL = 0.95        # of each interval: low enough that an interval which is too short is seen
Z95, Z99 = (NormalDist().inv_cdf((1 + level) / 2) for level in (LEVEL, 0.99))


@dataclass(frozen=True)
class Experiment:
    """One interval from `paths` paths, as often as one likes.

    theorem: makes the certificate from the source, and from what depends on the seed (sampler, y0, key).
    offset: of y0 from the truth.
    """

    problem: uc.ParabolicPDE
    at: np.ndarray
    truth: float
    surrogate: AbstractSurrogate
    theorem: Callable
    guarantee: Guarantee
    offset: float = 0.0
    steps: int = 8
    paths: int = 1024


@dataclass(frozen=True)
class Count:
    """What came of many seeds."""

    seeds: int
    held: int               # intervals that hold the truth
    held99: int             # the same, of those at 99 % from the same paths
    noise_only: int         # those that would, if they had their sampling part alone
    unbounded: int          # intervals with both ends infinite
    half_width: float       # mean, of the others
    error: float            # mean |value - truth|
    signed_bias: float      # mean value - truth
    scatter: float          # of the value

    @property
    def bias(self) -> float:
        return abs(self.signed_bias)

    @property
    def coverage(self) -> float:
        return self.held / self.seeds


def count(experiment: Experiment, seeds: int, first: int = 0) -> Count:
    """Certify with seeds first, first + 1, ...; everything but the key stays, so nothing is compiled twice."""
    e = experiment
    sampler, source = sampler_of(e.problem, e.at, e.steps, e.paths), known(e.problem, e.at)
    y0 = np.array([e.truth + e.offset])
    found = []
    for seed in range(first, first + seeds):
        key = jax.random.key(1_000_000 + seed)
        chunk, _ = paths_of(sampler, e.surrogate, y0, e.paths, seed)
        certificate = e.theorem(source, sampler, y0, key)
        if isinstance(certificate, GradientSmooth):
            certificate = certificate.tuned(paths_of(sampler, e.surrogate, y0, e.paths, 2_000_000 + seed)[0].fine, y0)
        bounds = bounds_of(certificate, chunk, y0, Z95)
        assert bounds.guarantee is e.guarantee, bounds.guarantee
        wide = bounds_of(certificate, chunk, y0, Z99)
        ends = bounds.low[0], bounds.high[0], wide.low[0], wide.high[0]
        found.append([*ends, bounds.value[0], bounds.budget["sampling"][0]])
    low, high, low99, high99, value, sampling = np.array(found).T
    widths = np.array([high - value, value - low])
    widths = np.where(np.isfinite(widths), widths, -np.inf).max(axis=0)      # the finite end, of a bound on one side
    bounded = np.isfinite(widths)
    return Count(
        seeds, int(np.sum((low <= e.truth) & (e.truth <= high))), int(np.sum((low99 <= e.truth) & (e.truth <= high99))),
        int(np.sum(np.abs(value - e.truth) <= sampling)), seeds - int(bounded.sum()),
        float(np.mean(widths[bounded])) if bounded.any() else np.inf,
        float(np.mean(np.abs(value - e.truth))), float(np.mean(value) - e.truth), float(np.std(value)),
    )


def _smoothed(problem: uc.ParabolicPDE) -> Smoothed:
    return Smoothed.of(problem, 4, np.random.default_rng(0))


def _linear(source, sampler, y0, key):
    return Linear.of(source, sampler.model.horizon)


def _value(source, sampler, y0, key):
    return Value.of(source, sampler.model.horizon)


def linear_geometric() -> Experiment:
    """A discounted sum of squares: E X_i^2 = x_i^2 exp((2 mu + sigma_i^2) T)."""
    x, sigma, r, mu = np.array([1.0, 0.8, 1.1]), np.array([0.2, 0.3, 0.4]), 0.3, 0.1
    problem = uc.ParabolicPDE(
        process=uc.GeometricBrownian(3, mu, sigma, np.full((3, 3), 0.4) + 0.6 * np.eye(3)), horizon=1.0,
        source=lambda t, x, u, grad: -r * u, terminal=lambda x: x @ x,
    )
    truth = np.exp(-r) * float(x**2 @ np.exp(2 * mu + sigma**2))
    surrogate = Formula(lambda t, x: 0.5 * x @ x)
    return Experiment(problem, x, truth, surrogate, _linear, Guarantee.unbiased, 0.2, paths=4096)


def linear_reverting() -> Experiment:
    """Made up: c u + b . grad + h on an Ornstein-Uhlenbeck process."""
    problem = made(wave, lambda u, grad: -0.9 * u + 0.4 * grad[1], uc.OrnsteinUhlenbeck(3, 1.2, 0.6, 0.1))
    x = np.array([0.3, 0.1, -0.2])
    return Experiment(problem, x, float(wave(0.0, x)), Formula(bent, 0.5), _linear, Guarantee.unbiased, 0.1)


def control() -> Experiment:
    """The quadratic case: Hopf and Cole."""
    case = uc.zoo.hjb(dim=5)
    theorem = lambda source, sampler, y0, key: GradientSmooth.of(source, None)      # noqa: E731
    return Experiment(case.problem, case.at, case.reference, _smoothed(case.problem), theorem, Guarantee.unbiased, 0.1)


def quadratic_with_source() -> Experiment:
    """Slopes do not vary, but f does, with (t, x): two ends, one of them a policy's."""
    case = uc.zoo.quadratic_gradient(dim=5)
    theorem = lambda source, sampler, y0, key: GradientSmooth.of(source, None)      # noqa: E731
    return Experiment(case.problem, case.at, case.reference, _smoothed(case.problem), theorem, Guarantee.two_sided)


def reaction() -> Experiment:
    """Allen-Cahn against the radial equation, with a surrogate that is a quarter too large."""
    case = uc.zoo.allen_cahn(dim=3)
    surrogate = Formula(lambda t, x: 0.3 + 0.6 * (1 / (2 + 0.4 * x @ x) - 0.5))
    return Experiment(case.problem, case.at, case.reference, surrogate, _value, Guarantee.two_sided, 0.1, paths=4096)


def reaction_reverting() -> Experiment:
    """f = -u^2 / (1 + u^2) on an Ornstein-Uhlenbeck process of which only the sum matters: a problem on a line."""
    problem = uc.ParabolicPDE(
        process=uc.OrnsteinUhlenbeck(4, 0.7, 0.5), horizon=1.0, source=lambda t, x, u, grad: -(u**2) / (1 + u**2),
        terminal=lambda x: 1.5 + jnp.tanh(jnp.sum(x) / 2),
    )
    truth = grid.value(
        lambda s: -0.7 * s, lambda s: 0.5 + 0 * s, lambda t, s, u, p: -(u**2) / (1 + u**2), lambda s: 1.5 + np.tanh(s),
        at=0.2, horizon=1.0, interval=(-5.0, 5.4), nodes=601, steps=200,
    ).value
    return Experiment(problem, np.full(4, 0.1), truth, _smoothed(problem), _value, Guarantee.two_sided, 0.2, paths=2048)


def kinks() -> Experiment:
    """f Lipschitz, with kinks in u and in the gradient, on a line against a grid."""
    problem = uc.ParabolicPDE(
        process=uc.Brownian(1, 1.0), horizon=T, terminal=lambda x: jnp.cos(x[0]) - 0.5,
        source=lambda t, x, u, grad: 0.3 * jnp.abs(grad[0]) + 0.4 * jnp.maximum(u, 0.0),
        bounds=uc.SourceBounds(slope=(0.0, 0.4), gradient_slope=0.6),
    )
    truth = grid.value(
        lambda x: 0 * x, lambda x: 1 + 0 * x, lambda t, x, u, p: 0.3 * np.abs(p) + 0.4 * np.maximum(u, 0.0),
        lambda x: np.cos(x) - 0.5, at=0.2, horizon=T, interval=(-7.8, 8.2), nodes=801, steps=200,
    ).value
    theorem = lambda source, sampler, y0, key: Lipschitz.of(source, T, T / sampler.scheme.steps)      # noqa: E731
    surrogate = Formula(lambda t, x: 0.6 * jnp.cos(x[0] + 1.0))
    return Experiment(problem, np.array([0.2]), truth, surrogate, theorem, Guarantee.two_sided)


def kinks_in_value() -> Experiment:
    """f(u) with two kinks in the range of u and a bend between them, on a line against a grid."""
    def source(t, x, u, grad, np=jnp):
        return 0.5 * np.abs(u - 0.4) - 0.1 * np.maximum(u, 0.0) ** 2

    problem = uc.ParabolicPDE(
        process=uc.Brownian(1, 1.0), horizon=T, terminal=lambda x: jnp.cos(2 * x[0]) + 0.3, source=source,
        bounds=uc.SourceBounds(value_range=(-1.0, 2.0)),
    )
    truth = grid.value(
        lambda x: 0 * x, lambda x: 1 + 0 * x, lambda t, x, u, p: source(t, x, u, p, np), lambda x: np.cos(2 * x) + 0.3,
        at=0.2, horizon=T, interval=(-7.8, 8.2), nodes=1601, steps=400,
    ).value
    theorem = lambda source, sampler, y0, key: Kinked.of(source, T, T / sampler.scheme.steps)      # noqa: E731
    surrogate = Formula(lambda t, x: jnp.exp(-2 * (T - t)) * jnp.cos(2 * x[0]))
    return Experiment(problem, np.array([0.2]), truth, surrogate, theorem, Guarantee.two_sided, 0.3, paths=4096)


def one_kink() -> Experiment:
    """A kink along one combination of the gradient in three dimensions, and a surrogate on the wrong side of it."""
    problem = made(
        wave, lambda u, grad: 0.15 * jnp.abs(jnp.sum(grad)), uc.Brownian(3, 0.5),
        bounds=uc.SourceBounds(gradient_slope=0.3 * math.sqrt(3) / 0.5, gradient_directions=1),
    )

    def theorem(source, sampler, y0, key):
        inner = Lipschitz.of(source, T, T / sampler.scheme.steps)
        return Directional.of(source, replace(inner, shape=None))

    x = np.array([0.3, 0.1, -0.2])
    return Experiment(problem, x, float(wave(0.0, x)), Formula(bent, 0.1, -1.0), theorem, Guarantee.two_sided)


def both() -> Experiment:
    """Nonlinear in u and in the gradient: an estimate, with its remainder estimated anew for each seed."""
    problem = made(wave, lambda u, grad: (u - 0.5) * jnp.sum(grad) + 0.3 * grad[0] ** 2, uc.Brownian(3, 0.6))
    x, surrogate = np.array([0.3, 0.1, -0.2]), Formula(bent, 0.25)

    def theorem(source, sampler, y0, key):
        return fallback(problem, sampler, surrogate, y0, key)

    return Experiment(problem, x, float(wave(0.0, x)), surrogate, theorem, Guarantee.estimate, 0.1, 16, 2048)


def stepped() -> Experiment:
    """A diffusion that must be stepped, with volatility 0.4 sqrt(1 + x^2), on a line against a grid."""
    problem = uc.ParabolicPDE(
        process=uc.Diffusion(1, lambda t, x: -0.5 * x, lambda t, x: 0.4 * jnp.sqrt(1 + x**2)[:, None]), horizon=0.5,
        source=lambda t, x, u, grad: jnp.cos(u), terminal=lambda x: 1 + 0.5 * jnp.tanh(x[0]),
    )
    truth = grid.value(
        lambda x: -0.5 * x, lambda x: 0.4 * np.sqrt(1 + x**2), lambda t, x, u, p: np.cos(u),
        lambda x: 1 + 0.5 * np.tanh(x), at=0.5, horizon=0.5, interval=(-6, 7), nodes=601, steps=150,
    ).value
    theorem = lambda source, sampler, y0, key: Stepped.of(Value.of(source, 0.5))        # noqa: E731
    surrogate = Formula(lambda t, x: 1 + 0.7 * jnp.tanh(x[0]))
    return Experiment(problem, np.array([0.5]), truth, surrogate, theorem, Guarantee.estimate, 0.1, paths=2048)


EXPERIMENTS: dict[str, Callable[[], Experiment]] = {
    make.__name__.replace("_", "-"): functools.cache(make)
    for make in (
        linear_geometric, linear_reverting, control, quadratic_with_source, reaction, reaction_reverting, kinks,
        kinks_in_value, one_kink, both, stepped,
    )
}
