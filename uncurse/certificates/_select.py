"""Which theorems apply to a problem, strongest first, and how many paths each would need."""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Bool, Int

from .._devices import single
from .._solution import Guarantee
from ..analysis import Source
from ..problems import ParabolicPDE
from ..statistics import Moments
from ..surrogates import AbstractSurrogate
from ._base import AbstractCertificate, Bounds, PerPath, PerPoint
from ._sampling import Chunk, Sampler, columns_of
from .directional import Directional
from .gradient_smooth import GradientSmooth
from .kinked import Kinked
from .linear import Linear
from .lipschitz import Lipschitz
from .mixed import Mixed, errors_along, sampled_curvature, sampled_remainder
from .step import Stepped
from .value import Value

ORDER = list(Guarantee)
SAMPLED_POINTS = 1024       # visited points at which a constant is estimated, over all starting points


@dataclass(frozen=True)
class Offer:
    """A certificate, what it would cost, and its bounds on the pilot."""

    certificate: AbstractCertificate
    counts: Int[np.ndarray, " n"] | None    # paths that it needs at each point; None: no number will do at some
    bounds: Bounds
    bias: float             # of the half-width that sampling cannot shrink, over the tolerance; the worst point

    @property
    def count(self) -> int | None:
        """Paths that it needs at the worst point."""
        return None if self.counts is None else int(self.counts.max())

    @property
    def proved(self) -> bool:
        return self.bounds.guarantee in (Guarantee.unbiased, Guarantee.two_sided)


def theorems(
    problem: ParabolicPDE, source: Source, sampler: Sampler, surrogate: AbstractSurrogate, pilot: Chunk, y0: PerPoint,
    key: jax.Array,
) -> list[AbstractCertificate]:
    """All that apply, with constants declared or proved where they can be."""
    horizon = problem.horizon
    step = horizon * float(sampler.scheme.shares.max())
    lipschitz = Lipschitz.of(source, horizon, step)
    found = [Linear.of(source, horizon), Value.of(source, horizon), Kinked.of(source, horizon, step)]
    found += [lipschitz, None if lipschitz is None else Directional.of(source, lipschitz)]
    smooth = None
    if not source.uses_value and not source.affine_in_gradient:
        curvature = None
        if source.gradient_curvature is None and source.smooth:
            curvature = float(sampled_curvature(sampler.model, key, *_visited_points(sampler, surrogate, y0, key)))
        smooth = GradientSmooth.of(source, curvature)
    certificates = [c for c in found if c is not None]
    if smooth is not None:
        certificates.insert(0, smooth.tuned(pilot.fine, y0))
    return [_with_step(c, problem) for c in certificates]


def fallback(
    problem: ParabolicPDE, sampler: Sampler, surrogate: AbstractSurrogate, y0: PerPoint, key: jax.Array
) -> AbstractCertificate:
    """What is left where no theorem applies, or none reaches the tolerance: an estimate."""
    return _with_step(_mixed(sampler, surrogate, y0, key), problem)


def _with_step(certificate: AbstractCertificate, problem: ParabolicPDE) -> AbstractCertificate:
    return certificate if problem.process.exact else Stepped.of(certificate)


def offers(
    certificates: list[AbstractCertificate], pilot: Chunk, y0: PerPoint, tolerance: tuple[float, float], z: float,
    spent: PerPoint, least: int,
) -> list[Offer]:
    """Each certificate with what it would cost, the strongest guarantee first, the cheapest first within one, and the
    sharpest first of those that need no more than `least` paths; `spent` of the tolerance is for others."""
    result = []
    for certificate in certificates:
        moments = Moments.of(columns_of(certificate, pilot, y0))
        here = certificate.bounds(moments, y0, z)
        bias = certificate.predict(moments, y0, z, 10**14)
        with np.errstate(over="ignore"):        # beyond all tolerance
            worst = float(np.max(bias.half_width / allowed(bias.value, tolerance)))
        counts = paths_needed(certificate, moments, y0, tolerance, z, spent)
        result.append(Offer(certificate, counts, here, worst))

    def cost(offer: Offer) -> tuple[float, ...]:
        count = np.inf if offer.count is None else max(offer.count, least)
        return ORDER.index(offer.bounds.guarantee), count, offer.bias

    return sorted(result, key=cost)


def allowed(value: PerPoint, tolerance: tuple[float, float]) -> PerPoint:
    """max(atol, rtol |value|), never 0."""
    rtol, atol = tolerance
    return np.maximum(np.maximum(atol, rtol * np.abs(value)), np.finfo(np.float64).tiny)


def paths_needed(
    certificate: AbstractCertificate, moments: Moments, y0: PerPoint, tolerance: tuple[float, float], z: float,
    spent: PerPoint,
) -> Int[np.ndarray, " n"] | None:
    """For each point the smallest count, within a tenth, whose predicted half-width, with what is spent already, is 5 %
    inside the tolerance; None where no number will do at some."""
    def enough(count: float) -> Bool[np.ndarray, " n"]:
        bounds = certificate.predict(moments, y0, z, int(count))
        return bounds.half_width + spent <= 0.95 * allowed(bounds.value, tolerance)

    low, high = 2.0, 1e14
    if not enough(high).all():
        return None
    while high / low > 1.1:
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if enough(middle).all() else (middle, high)
    counts = np.full(len(y0), int(high))
    while len(y0) > 1 and high > 2.0:
        high /= 1.1
        fewer = (counts <= 1.1 * high + 1) & enough(high)
        if not fewer.any():
            break
        counts[fewer] = int(high)
    return counts


def _visited_points(sampler: Sampler, surrogate: AbstractSurrogate, y0: PerPoint, key: jax.Array) -> tuple:
    """(t, x, y, q) at random steps of fresh paths."""
    visited = sampler.visited(surrogate, y0, key)
    steps, paths = visited.trace.y.shape
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    which = np.resize(np.arange(paths), SAMPLED_POINTS)
    step = rng.choice(steps, SAMPLED_POINTS, p=sampler.scheme.shares)
    t = (sampler.model.horizon * sampler.scheme.grid[step]).astype(np.float32)
    return t, *(np.asarray(a)[step, which] for a in (visited.trace.x, visited.trace.y, visited.trace.visit.q))


def _mixed(sampler: Sampler, surrogate: AbstractSurrogate, y0: PerPoint, key: jax.Array) -> Mixed:
    """The constants of `Mixed` from pairs of paths that branch at a random step: e_k is known twice, independently."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    visited = sampler.visited(surrogate, y0, key, branches=rng)
    trace, branch, model = visited.trace, visited.branch, sampler.model
    pairs, row = len(branch) // 2, np.arange(len(branch))
    grid = sampler.scheme.grid[:-1], sampler.scheme.shares
    times, lengths = (single(model.horizon * a) for a in grid)
    eps = errors_along(model, times, lengths, trace.x, trace.y, trace.visit.q, visited.columns.mismatch)
    history = trace.total, trace.log_gamma, trace.y, eps
    before, log_gamma, y, eps = (np.asarray(a)[branch, row].astype(np.float64) for a in history)
    gamma = np.exp(log_gamma)
    e = (np.asarray(visited.columns.total, dtype=np.float64) - before) / gamma - y
    # With few pairs for each point, all points share what the pairs tell.
    n = len(y0) if pairs >= 64 * len(y0) else 1
    owner = visited.point if n > 1 else np.zeros_like(visited.point)
    even, odd = slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2)
    point, weight = owner[even], _mean(gamma[even], owner[even], n)[0]
    squares = [_upper((gamma * a)[even] * a[odd], point, n) for a in (e, eps)]
    size2, spread2 = np.maximum(*squares), _mean(gamma * eps**2, owner, n)[0]
    shrink = np.sqrt(size2 / np.maximum(spread2, np.finfo(np.float64).tiny))
    reach = np.sqrt(_mean(np.asarray(visited.columns.mismatch2, dtype=np.float64), owner, n)[0])
    chosen = rng.choice(pairs, min(max(SAMPLED_POINTS, n), pairs), replace=False) * 2
    at = owner[chosen]
    t = model.horizon * sampler.scheme.grid[branch[chosen]]
    visits = (np.asarray(a)[branch[chosen], chosen] for a in (trace.x, trace.y, trace.visit.q))
    there = (t, *visits, shrink[at] * eps[chosen], reach[at])
    rho = sampled_remainder(model, key, *(single(a) for a in there))
    remainder = _upper(gamma[chosen] * np.asarray(rho, dtype=np.float64), at, n)
    return Mixed.of(model.horizon, *(np.broadcast_to(a, y0.shape) for a in (remainder, np.sqrt(size2 * weight))))


def _mean(values: PerPath, point: Int[np.ndarray, " k"], n: int) -> tuple[PerPoint, PerPoint]:
    """The mean of the values that belong to each of n points, and its standard error."""
    count = np.maximum(np.bincount(point, minlength=n), 1)
    mean = np.bincount(point, values, n) / count
    with np.errstate(invalid="ignore"):     # an infinite value leaves NaN, which no certificate believes
        return mean, np.sqrt(np.bincount(point, (values - mean[point]) ** 2, n) / count) / np.sqrt(count)


def _upper(values: PerPath, point: Int[np.ndarray, " k"], n: int) -> PerPoint:
    """The mean of what is positive on average, two standard errors up."""
    mean, error = _mean(values, point, n)
    return np.maximum(mean + 2 * error, 0.0)
