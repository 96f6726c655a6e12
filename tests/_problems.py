"""What several test files share: surrogates made from formulas, and paths driven without the tolerance loop."""

from collections.abc import Callable
from statistics import NormalDist

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from uncurse.analysis import analyse
from uncurse.certificates import GradientSmooth, Sampler, columns_of
from uncurse.methods import Setting
from uncurse.problems import ParabolicPDE
from uncurse.statistics import Moments
from uncurse.surrogates import AbstractSurrogate

FALSE_ALARM = 1e-6      # of one two-sided comparison, where a test does not say otherwise
Z = NormalDist().inv_cdf(1 - FALSE_ALARM / 2)       # 4.89


class Formula(AbstractSurrogate):
    """uhat(t, x) = function(t, x, *constants): right, wrong or 0, as a test likes."""

    dim = None
    constants: tuple
    function: Callable = eqx.field(static=True)

    def __init__(self, function, *constants):
        self.function, self.constants = function, tuple(np.float32(c) for c in constants)

    def value(self, t, x):
        return self.function(t, x, *self.constants)

    def recipe(self):
        return {}


ZERO = Formula(lambda t, x: 0.0 * t)


def sampler_of(problem: ParabolicPDE, at, steps: int, rows: int = 4096) -> Sampler:
    points = np.atleast_2d(np.asarray(at, dtype=np.float64))
    return Setting(problem, analyse(problem, points), points, steps, rows, seed=0).sampler


def paths_of(sampler: Sampler, surrogate, y0, count: int, seed: int = 0):
    """All columns of `count` paths a point."""
    y0 = np.broadcast_to(np.asarray(y0, dtype=np.float64), len(sampler.starts))
    return sampler.pilot(surrogate, y0, jax.random.key(seed), count), y0


def bounds_of(certificate, chunk, y0, z: float = Z):
    return certificate.bounds(Moments.of(columns_of(certificate, chunk, y0)), y0, z)


def holds(bounds, truth) -> bool:
    return bool(np.all((bounds.low <= truth) & (truth <= bounds.high)))


# --- a solution made up, and the problem it solves --------------------------------------------------------------


T = 0.8
W = np.array([0.7, -0.4, 0.5], dtype=np.float32)
POINT = np.array([0.3, 0.1, -0.2])


def at_once(problem, theorem, surrogate, at, steps=5, count=16384, y0=None, seed=0):
    """The theorem's interval from `count` paths; y0 is the surrogate's own value at the point unless one is given."""
    sampler = sampler_of(problem, at, steps)
    if y0 is None:
        y0 = np.asarray([float(surrogate.value(0.0, jnp.asarray(x, dtype=np.float32))) for x in sampler.starts])
    chunk, y0 = paths_of(sampler, surrogate, y0, count, seed)
    if isinstance(theorem, GradientSmooth):
        theorem = theorem.tuned(chunk.fine, y0)
    return bounds_of(theorem, chunk, y0)


def known(problem, x=POINT):
    return analyse(problem, np.atleast_2d(np.asarray(x, dtype=np.float64)))


def made(solution, source, process, dim=3, **more):
    """The problem that has `solution(t, x)`: source plus what is missing from it."""
    def sigma(t, x):
        return jax.jacobian(lambda z: process.move(x, process.spread(t, x, z)))(jnp.zeros(process.noise_dim))

    def full(t, x, u, grad):
        u_t, p = jax.grad(solution, (0, 1))(t, x)
        s = sigma(t, x)
        generator = process.drift(t, x) @ p + jnp.trace(s @ s.T @ jax.hessian(solution, 1)(t, x)) / 2
        return source(u, grad) - (u_t + generator + source(solution(t, x), p))

    return ParabolicPDE(process=process, source=full, terminal=lambda x: solution(T, x), horizon=T, **more)


def wave(t, x):
    return jnp.exp(0.5 * (t - T)) * jnp.cos(W[: x.shape[0]] @ x + 0.3)


def bent(t, x, size, scale=1.0):
    """Off by `size`, in value, slope and curvature alike."""
    return scale * wave(t, x) + size * jnp.cos(1.3 * x[0] - 0.4 * x[-1] + 2 * t)


def square(t, x, scale):
    return scale * x @ x
