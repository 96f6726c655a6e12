"""Certificates under bad conditions: wrong surrogates, long horizons, stiff sources, exponents near the limit.

Each is an `Experiment` as in tests/_experiments.py, with a truth from a formula, a grid on a line or quadrature.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from _experiments import Experiment, _linear, _smoothed, _value
from _problems import Formula, bent, made, wave

import uncurse as uc
from uncurse import Guarantee
from uncurse.certificates import GradientSmooth, Lipschitz, Stepped, fallback
from uncurse.certificates._select import _visited_points
from uncurse.certificates.mixed import sampled_curvature
from uncurse.classical import grid

POINT = np.array([0.3, 0.1, -0.2])


def _smooth(source, sampler, y0, key):
    return GradientSmooth.of(source, None)


def _lipschitz(source, sampler, y0, key):
    horizon = sampler.model.horizon
    return Lipschitz.of(source, horizon, horizon / sampler.scheme.steps)


def on_a_line(source: Callable, terminal: Callable, at: float, horizon: float, reach: float = 8.0, steps: int = 200):
    """u(0, at) for u_t + u_ss / 2 + f(u, u_s) = 0 on a line."""
    value = grid.value(
        lambda s: 0 * s, lambda s: 1 + 0 * s, lambda t, s, u, p: source(u, p), terminal, at=at, horizon=horizon,
        interval=(at - reach, at + reach), nodes=801, steps=steps,
    )
    return value.value


def matrix_volatility() -> Experiment:
    """Linear, four correlated noises on three coordinates; the surrogate is minus three times the solution."""
    sigma = np.array([[0.5, 0.2, 0.0, 0.1], [0.0, 0.6, 0.1, -0.2], [0.3, 0.0, 0.4, 0.2]])
    problem = made(wave, lambda u, grad: -0.5 * u + 0.3 * grad[0], uc.Brownian(3, sigma))
    surrogate = Formula(lambda t, x: -3 * wave(t, x))
    return Experiment(problem, POINT, float(wave(0.0, POINT)), surrogate, _linear, Guarantee.unbiased, 0.5)


def reverting_twenty_long() -> Experiment:
    """E cos X_T on an Ornstein-Uhlenbeck process, T = 20 in eight steps, with a surrogate that knows no T."""
    process = uc.OrnsteinUhlenbeck(2, 1.0, 1.0)
    problem = uc.ParabolicPDE(
        process=process, source=lambda t, x, u, grad: -0.1 * u, horizon=20.0,
        terminal=lambda x: jnp.cos(x[0]) + x[1] ** 2,
    )
    truth = math.exp(-2.0) * (math.exp(-0.25 * (1 - math.exp(-40))) * math.cos(math.exp(-20)) + 0.5)
    surrogate = Formula(lambda t, x: jnp.cos(x[0]) + x[1] ** 2)
    return Experiment(problem, np.ones(2), truth, surrogate, _linear, Guarantee.unbiased, 0.1, paths=4096)


def _control(strength: float, scale: float, dim: int = 5) -> tuple:
    case = uc.zoo.hjb(dim=dim, strength=strength)
    smooth = _smoothed(case.problem)
    return case, Formula(lambda t, x: scale * smooth.value(t, x))


def exponent_near_limit() -> Experiment:
    """The exact quadratic with K times the scatter of S near 0.9, where averages of exponentials are last believed."""
    case, surrogate = _control(1.0, 0.0, 2)
    return Experiment(case.problem, case.at, case.reference, surrogate, _smooth, Guarantee.unbiased, 0.1)


def control_from_another() -> Experiment:
    """u_t + Lap u / 2 + |grad u|^2 = h with the surrogate of another problem, and of the wrong sign."""
    case, other = uc.zoo.quadratic_gradient(dim=5), uc.zoo.allen_cahn(dim=5)
    wrong = _smoothed(other.problem)
    surrogate = Formula(lambda t, x: -0.3 * wrong.value(t, x))
    return Experiment(case.problem, case.at, case.reference, surrogate, _smooth, Guarantee.two_sided, 0.1)


def strong_control_upper() -> Experiment:
    """Strength 20: what is left is the cost of a policy, an upper end."""
    case, surrogate = _control(20.0, 0.3)
    return Experiment(case.problem, case.at, case.reference, surrogate, _policy, Guarantee.upper_bound, 0.2, steps=16)


def strong_control_lower() -> Experiment:
    """The mirror image, f convex: a lower end."""
    case, surrogate = _control(20.0, 0.3)
    problem = uc.ParabolicPDE(
        process=case.problem.process, source=lambda t, x, u, grad: 20 * jnp.sum(grad**2), horizon=1.0,
        terminal=lambda x: -jnp.log((1 + x @ x) / 2),
    )
    mirrored = Formula(lambda t, x: -surrogate.value(t, x))
    return Experiment(problem, case.at, -case.reference, mirrored, _policy, Guarantee.lower_bound, -0.2, steps=16)


def _policy(source, sampler, y0, key):
    """Theorem 2 where it is not exact: the sign of the quadratic is not used."""
    return replace(GradientSmooth.of(source, None), sign=0)


def estimated_curvature() -> Experiment:
    """f = 1.5 sqrt(1 + |grad|^2) in ten dimensions, K from samples, on the line that g depends on."""
    d = 10
    problem = uc.ParabolicPDE(
        process=uc.Brownian(d, 1.0), horizon=0.5, terminal=lambda x: jnp.cos(2 * jnp.sum(x) / math.sqrt(d)),
        source=lambda t, x, u, grad: 1.5 * jnp.sqrt(1 + jnp.sum(grad**2)),
    )
    truth = on_a_line(lambda u, p: 1.5 * np.sqrt(1 + p**2), lambda s: np.cos(2 * s), 0.3, 0.5)
    surrogate = Formula(lambda t, x: 0.6 * jnp.cos(2 * jnp.sum(x) / math.sqrt(d) + 0.3))

    def theorem(source, sampler, y0, key):
        visited = _visited_points(sampler, surrogate, y0, key)
        return GradientSmooth.of(source, float(sampled_curvature(sampler.model, key, *visited)))

    return Experiment(problem, np.full(d, 0.3 / math.sqrt(d)), truth, surrogate, theorem, Guarantee.estimate, 0.1)


def kinks_in_ten() -> Experiment:
    """0.3 |sum of grad| / sqrt(d) + 0.4 max(u, 0) on the line that g depends on; the surrogate has the wrong sign."""
    d = 10
    problem = uc.ParabolicPDE(
        process=uc.Brownian(d, 1.0), horizon=0.8, terminal=lambda x: jnp.cos(jnp.sum(x) / math.sqrt(d)) - 0.5,
        source=lambda t, x, u, grad: 0.3 * jnp.abs(jnp.sum(grad)) / math.sqrt(d) + 0.4 * jnp.maximum(u, 0.0),
        bounds=uc.SourceBounds(slope=(0.0, 0.4), gradient_slope=0.6),
    )
    truth = on_a_line(lambda u, p: 0.3 * np.abs(p) + 0.4 * np.maximum(u, 0.0), lambda s: np.cos(s) - 0.5, 0.2, 0.8)
    surrogate = Formula(lambda t, x: -jnp.cos(jnp.sum(x) / math.sqrt(d)))
    return Experiment(problem, np.full(d, 0.2 / math.sqrt(d)), truth, surrogate, _lipschitz, Guarantee.two_sided)


def untrained_network() -> Experiment:
    """Allen-Cahn in three dimensions with an untrained network."""
    case, rng = uc.zoo.allen_cahn(dim=3), np.random.default_rng(3)
    first, second = rng.standard_normal((32, 4)) / 2, rng.standard_normal(32) / 6
    surrogate = Formula(lambda t, x, a, b: b @ jnp.tanh(a @ jnp.append(x, t)), first, second)
    return Experiment(case.problem, case.at, case.reference, surrogate, _value, Guarantee.two_sided, 0.1, paths=2048)


def standing_wave() -> Experiment:
    """u = tanh(s / sqrt(2)), s = sum(x) / sqrt(d), stands still under u_t + Lap u + u - u^3 = 0."""
    d, r = 4, math.sqrt(2.0)
    front = lambda x: jnp.tanh(jnp.sum(x) / math.sqrt(d) / r)       # noqa: E731
    problem = uc.ParabolicPDE(
        process=uc.Brownian(d, r), source=lambda t, x, u, grad: u - u**3, terminal=front, horizon=1.0,
        bounds=uc.SourceBounds(value_range=(-1.0, 1.0)),
    )
    surrogate = Formula(lambda t, x: 0.9 * front(x))
    return Experiment(problem, np.full(d, 0.4), math.tanh(0.8 / r), surrogate, _value, Guarantee.two_sided, 0.05)


def stiff() -> Experiment:
    """f = -4 u^3 with steps on which f_u h reaches -1.3: yhat is far off inside a step."""
    problem = uc.ParabolicPDE(
        process=uc.Brownian(1, 1.0), source=lambda t, x, u, grad: -4 * u**3, horizon=0.5,
        terminal=lambda x: 1 + 0.5 * jnp.sin(2 * x[0]),
    )
    truth = on_a_line(lambda u, p: -4 * u**3, lambda s: 1 + 0.5 * np.sin(2 * s), 0.4, 0.5, steps=800)
    surrogate = Formula(lambda t, x: 1 + 0.5 * jnp.sin(2 * x[0]))
    return Experiment(problem, np.array([0.4]), truth, surrogate, _value, Guarantee.two_sided, 0.3, 10)


def varying_slope() -> Experiment:
    """f = cos(x_0) u + h(t, x): affine, but its slope varies; made up."""
    plain = made(wave, lambda u, grad: 0.0 * u, uc.Brownian(3, 0.6))
    source = plain.source
    problem = uc.ParabolicPDE(
        process=plain.process, horizon=plain.horizon, terminal=plain.terminal,
        source=lambda t, x, u, grad: jnp.cos(x[0]) * (u - wave(t, x)) + source(t, x, u, grad),
        bounds=uc.SourceBounds(slope=(-1.0, 1.0), curvature=0.0),
    )
    return Experiment(problem, POINT, float(wave(0.0, POINT)), Formula(bent, 0.5), _value, Guarantee.two_sided, 0.1)


def geometric_reaction() -> Experiment:
    """sin u + 0.1 x . grad u on three correlated stocks; made up."""
    def solution(t, x):
        return 1 + 0.4 * jnp.exp(-0.3 * t) * jnp.tanh(jnp.sum(jnp.log(x)))

    rho = 0.5 * np.eye(3) + 0.5
    process = uc.GeometricBrownian(3, 0.05, [0.2, 0.3, 0.4], rho)
    base = made(solution, lambda u, grad: jnp.sin(u), process)
    source = base.source

    def full(t, x, u, grad):
        p = jax.grad(solution, 1)(t, x)
        return source(t, x, u, grad) + 0.1 * jnp.sum(x * (grad - p))

    problem = uc.ParabolicPDE(process=process, source=full, terminal=base.terminal, horizon=base.horizon,
                              bounds=uc.SourceBounds(slope=(-1.0, 1.0), curvature=1.0))  # fmt: skip
    x = np.array([1.0, 0.8, 1.3])
    surrogate = Formula(lambda t, x: 3 * solution(t, x))
    return Experiment(problem, x, float(solution(0.0, x)), surrogate, _value, Guarantee.two_sided, 0.2)


def burgers() -> Experiment:
    """Ten dimensions, with a surrogate off by a third: an estimate."""
    case = uc.zoo.burgers(dim=10)
    surrogate = Formula(lambda t, x: 0.5 + 1.33 * (1 / (1 + jnp.exp(-t - jnp.mean(x))) - 0.5))

    def theorem(source, sampler, y0, key):
        return fallback(case.problem, sampler, surrogate, y0, key)

    return Experiment(case.problem, case.at, 0.5, surrogate, theorem, Guarantee.estimate, 0.05, 16, 2048)


def cubic_gradient() -> Experiment:
    """u |grad u|^2 and a potential, T = 0.8, with a surrogate of the wrong amplitude: an estimate."""
    problem = made(wave, lambda u, grad: 0.8 * u * jnp.sum(grad**2) + jnp.sin(2 * u), uc.Brownian(3, 0.8))
    surrogate = Formula(bent, 0.2, 0.6)

    def theorem(source, sampler, y0, key):
        return fallback(problem, sampler, surrogate, y0, key)

    return Experiment(problem, POINT, float(wave(0.0, POINT)), surrogate, theorem, Guarantee.estimate, 0.1, 16, 2048)


def stepped_in_three() -> Experiment:
    """A diffusion whose noises depend on where it is, with f = sin u; made up."""
    def volatility(t, x):
        return 0.4 * jnp.diag(jnp.sqrt(1 + x**2)) + 0.2 * jnp.outer(jnp.sin(x), jnp.ones(3))

    process = uc.Diffusion(3, lambda t, x: -0.8 * x + 0.3 * t, volatility)
    problem = made(wave, lambda u, grad: jnp.sin(u), process, bounds=uc.SourceBounds(slope=(-1.0, 1.0), curvature=1.0))
    theorem = lambda source, sampler, y0, key: Stepped.of(_value(source, sampler, y0, key))     # noqa: E731
    return Experiment(problem, POINT, float(wave(0.0, POINT)), Formula(bent, 0.4), theorem, Guarantee.estimate, 0.1)


def stepped_stocks() -> Experiment:
    """A geometric Brownian motion stepped in eight: E |X_T|^2 is known, Euler's is 3 % low."""
    mu, sigma, x = 0.3, 0.5, np.array([1.0, 0.7])
    process = uc.Diffusion(2, lambda t, x: mu * x, lambda t, x: sigma * jnp.diag(x))
    problem = uc.ParabolicPDE(process=process, terminal=lambda x: x @ x, horizon=1.0)
    theorem = lambda source, sampler, y0, key: Stepped.of(_linear(source, sampler, y0, key))        # noqa: E731
    truth = float(x @ x) * math.exp(2 * mu + sigma**2)
    surrogate = Formula(lambda t, x: x @ x)
    return Experiment(problem, x, truth, surrogate, theorem, Guarantee.estimate, 0.1, paths=4096)


def tails() -> Experiment:
    """E |X|^3 in five dimensions without any control variate."""
    problem = uc.ParabolicPDE(process=uc.Brownian(5, 1.0), terminal=lambda x: jnp.sum(jnp.abs(x) ** 3), horizon=1.0)
    truth, zero = 10 * math.sqrt(2 / math.pi), Formula(lambda t, x: 0.0 * t)
    return Experiment(problem, np.zeros(5), truth, zero, _linear, Guarantee.unbiased, paths=2048)


def control_in_a_thousand() -> Experiment:
    """Hopf and Cole in a thousand dimensions. Of samples of 256 paths, 2 % have tails that are refused."""
    case = uc.zoo.hjb(dim=1000)
    surrogate = Formula(lambda t, x: jnp.log((1 + x @ x + 2 * 1000 * (1 - t)) / 2))
    return Experiment(case.problem, case.at, case.reference, surrogate, _smooth, Guarantee.unbiased, 0.1, 4, 512)


def reaction_in_a_hundred() -> Experiment:
    """Sine-Gordon in a hundred dimensions, with a surrogate three times too large."""
    case = uc.zoo.sine_gordon(dim=100)
    surrogate = Formula(lambda t, x: 3 / (2 + 0.4 * x @ x))
    return Experiment(case.problem, case.at, case.reference, surrogate, _value, Guarantee.two_sided, 0.05, 4, 256)


HOSTILE: dict[str, Callable[[], Experiment]] = {
    make.__name__.replace("_", "-"): functools.cache(make)
    for make in (
        matrix_volatility, reverting_twenty_long, exponent_near_limit, control_from_another, strong_control_upper,
        strong_control_lower, estimated_curvature, kinks_in_ten, untrained_network, standing_wave, stiff, varying_slope,
        geometric_reaction, burgers, cubic_gradient, stepped_in_three, stepped_stocks, tails, control_in_a_thousand,
        reaction_in_a_hundred,
    )
}
