"""What several test files share: surrogates made from formulas, and paths driven without the tolerance loop."""

from collections.abc import Callable
from statistics import NormalDist

import equinox as eqx
import jax
import numpy as np

from uncurse.analysis import analyse
from uncurse.certificates import Model, Sampler, Scheme, columns_of
from uncurse.problems import ParabolicPDE
from uncurse.statistics import Moments
from uncurse.surrogates import AbstractSurrogate

FALSE_ALARM = 1e-6      # of one two-sided comparison, where a test does not say otherwise
Z = NormalDist().inv_cdf(1 - FALSE_ALARM / 2)       # 4.89


class Formula(AbstractSurrogate):
    """uhat(t, x) = function(t, x, *constants): right, wrong or 0, as a test likes."""

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
    scheme = Scheme.of(analyse(problem, points), problem.process, steps)
    return Sampler(Model.of(problem), scheme, points, rows)


def paths_of(sampler: Sampler, surrogate, y0, count: int, seed: int = 0):
    """All columns of `count` paths a point."""
    y0 = np.broadcast_to(np.asarray(y0, dtype=np.float64), len(sampler.starts))
    return sampler.pilot(surrogate, y0, jax.random.key(seed), count), y0


def bounds_of(certificate, chunk, y0, z: float = Z):
    return certificate.bounds(Moments.of(columns_of(certificate, chunk, y0)), y0, z)


def holds(bounds, truth) -> bool:
    return bool(np.all((bounds.low <= truth) & (truth <= bounds.high)))
