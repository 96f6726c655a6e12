"""Which theorems apply to a problem, strongest first, and how many paths each would need."""

from dataclasses import dataclass

import jax
import numpy as np

from .._solution import Guarantee
from ..analysis import Source
from ..problems import ParabolicPDE
from ..statistics import Moments
from ..surrogates import AbstractSurrogate
from ._base import AbstractCertificate, Bounds, PerPoint
from ._sampling import Chunk, Sampler, columns_of
from .gradient_smooth import GradientSmooth
from .linear import Linear
from .lipschitz import Lipschitz
from .mixed import Mixed, sampled_curvature, sampled_remainder
from .step import Stepped
from .value import Value

ORDER = list(Guarantee)
SAMPLED_POINTS = 256        # visited points at which a constant is estimated, over all starting points


@dataclass(frozen=True)
class Offer:
    """A certificate, the paths a point that it needs to meet the tolerance (None: no number will do), and its pilot bounds."""

    certificate: AbstractCertificate
    count: int | None
    bounds: Bounds
    bias: float             # of the half-width that sampling cannot shrink, over the tolerance; the worst point

    @property
    def proved(self) -> bool:
        return self.bounds.guarantee in (Guarantee.unbiased, Guarantee.two_sided)


def theorems(
    problem: ParabolicPDE, source: Source, sampler: Sampler, surrogate: AbstractSurrogate, pilot: Chunk, y0: PerPoint,
    key: jax.Array,
) -> list[AbstractCertificate]:
    """All that apply, with constants declared or proved where they can be."""
    horizon, found = problem.horizon, []
    found += [Linear.of(source, horizon), Value.of(source, horizon), Lipschitz.of(source, horizon)]
    smooth = None
    if not source.uses_value and not source.affine_in_gradient:
        curvature = None
        if source.gradient_curvature is None and source.smooth:
            curvature = float(sampled_curvature(sampler.model, key, *_visited_points(sampler, surrogate, y0, key)[:4]))
        smooth = GradientSmooth.of(source, curvature)
    certificates = [c for c in found if c is not None]
    if smooth is not None:
        certificates.insert(0, smooth.tuned(pilot.fine, y0))
    return [_with_step(c, problem) for c in certificates]


def fallback(
    problem: ParabolicPDE, sampler: Sampler, surrogate: AbstractSurrogate, pilot: Chunk, y0: PerPoint, key: jax.Array
) -> AbstractCertificate:
    """What is left where no theorem applies, or none reaches the tolerance: an estimate."""
    return _with_step(_mixed(sampler, surrogate, pilot, y0, key), problem)


def _with_step(certificate: AbstractCertificate, problem: ParabolicPDE) -> AbstractCertificate:
    return certificate if problem.process.exact else Stepped.of(certificate)


def offers(
    certificates: list[AbstractCertificate], pilot: Chunk, y0: PerPoint, tolerance: tuple[float, float], z: float
) -> list[Offer]:
    """Each certificate with what it would cost, the strongest guarantee first, the cheapest first within one."""
    result = []
    for certificate in certificates:
        moments = Moments.of(columns_of(certificate, pilot, y0))
        here = certificate.bounds(moments, y0, z)
        bias = certificate.predict(moments, y0, z, 10**14)
        worst = float(np.max(bias.half_width / allowed(bias.value, tolerance)))
        result.append(Offer(certificate, _paths_needed(certificate, moments, y0, tolerance, z), here, worst))
    cost = [(ORDER.index(o.bounds.guarantee), o.count if o.count is not None else np.inf, o.bias) for o in result]
    return [result[i] for i in sorted(range(len(result)), key=cost.__getitem__)]


def allowed(value: PerPoint, tolerance: tuple[float, float]) -> PerPoint:
    """max(atol, rtol |value|), never 0."""
    rtol, atol = tolerance
    return np.maximum(np.maximum(atol, rtol * np.abs(value)), np.finfo(np.float64).tiny)


def _paths_needed(
    certificate: AbstractCertificate, moments: Moments, y0: PerPoint, tolerance: tuple[float, float], z: float
) -> int | None:
    """The smallest count, within a tenth, whose predicted half-width is 5 % inside the tolerance at every point."""
    def enough(count: float) -> bool:
        bounds = certificate.predict(moments, y0, z, int(count))
        return bool((bounds.half_width <= 0.95 * allowed(bounds.value, tolerance)).all())

    low, high = 2.0, 1e14
    if not enough(high):
        return None
    while high / low > 1.1:
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if enough(middle) else (middle, high)
    return int(high)


def _visited_points(sampler: Sampler, surrogate: AbstractSurrogate, y0: PerPoint, key: jax.Array) -> tuple:
    """(t, x, y, q, point) at random steps of fresh paths."""
    visited = sampler.visited(surrogate, y0, key)
    steps, paths = visited.trace.y.shape
    wanted = max(SAMPLED_POINTS, len(y0))
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    which, step = np.resize(np.arange(paths), wanted), rng.integers(0, steps, wanted)
    t = (step * sampler.model.horizon / steps).astype(np.float32)
    x, y, q = (np.asarray(a)[step, which] for a in (visited.trace.x, visited.trace.y, visited.trace.q))
    return t, x, y, q, visited.point[which]


def _mixed(sampler: Sampler, surrogate: AbstractSurrogate, pilot: Chunk, y0: PerPoint, key: jax.Array) -> Mixed:
    t, x, y, q, point = _visited_points(sampler, surrogate, y0, key)
    size = np.sqrt(np.mean(np.asarray(pilot.fine.mismatch2, dtype=np.float64), axis=1))
    rho = np.asarray(sampled_remainder(sampler.model, key, t, x, y, q, size[point].astype(np.float32)), dtype=np.float64)
    count = np.maximum(np.bincount(point, minlength=len(y0)), 1)
    return Mixed.of(sampler.model.horizon, np.bincount(point, rho, minlength=len(y0)) / count)
