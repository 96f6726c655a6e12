"""Means that a few paths carry: a normal interval is too short there, so it is widened, and in the end refused."""

from dataclasses import replace
from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import pytest

import uncurse as uc
from uncurse import Guarantee, Result
from uncurse._final import Final
from uncurse._loop import Run
from uncurse.analysis import analyse
from uncurse.certificates import Linear, paths_needed
from uncurse.statistics import Moments, half_width_factor

Z99 = half_width_factor(0.99)


def solved(terminal, source=None, process=None, **options):
    problem = uc.ParabolicPDE(process=process or uc.Brownian(1, 1.0), source=source, terminal=terminal, horizon=1.0)
    return uc.solve(problem, [0.0], progress=False, throw=False, **options)


def test_moments_of_parts_are_those_of_the_whole():
    """To rounding, for parts of every size and for a column with one wild path."""
    columns = np.random.default_rng(0).lognormal(0.0, 1.5, (3, 500, 2))
    columns[0, 7, 1] = 1e4
    whole, cuts = Moments.of(columns), [0, 1, 2, 17, 400, 500]
    parts = [Moments.of(columns[:, a:b]) for a, b in pairwise(cuts)]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    for name in ("mean", "scatter", "third", "fourth", "kurtosis"):
        np.testing.assert_allclose(getattr(merged, name), getattr(whole, name), rtol=1e-9)
    assert whole.kurtosis[0, 1] > 400 and whole.heavy[0, 1] and np.isinf(whole.error[0, 1])


@pytest.mark.parametrize("mean, draw", [
    (15.0, lambda rng, n: rng.standard_normal(n) ** 6),
    (np.exp(2.0), lambda rng, n: np.exp(2 * rng.standard_normal(n))),
    (1e-3, lambda rng, n: (rng.random(n) < 1e-3).astype(float)),
])  # fmt: skip
def test_heavy_tails_miss_no_more_often_than_they_say(mean, draw):
    """At 99 % and 4096 paths, 1000 seeds; the plain normal interval misses 25 or more. More than 22 misses of an honest
    interval: 4e-4."""
    rng = np.random.default_rng(1)
    samples = [Moments.of(draw(rng, 4096)[None, :, None]) for _ in range(1000)]
    off = np.array([abs(m.mean[0, 0] - mean) for m in samples])
    assert np.sum(off > Z99 * np.array([m.error[0, 0] for m in samples])) <= 22
    assert np.sum(off > Z99 * np.array([m.deviation[0, 0] / 64 for m in samples])) >= 25


def test_a_gaussian_interval_is_hardly_wider():
    """sqrt(1 + 2.6 sqrt(2/n)): 3 % at 2048 paths."""
    m = Moments.of(np.random.default_rng(2).standard_normal((1, 2048, 1)))
    assert 1.02 < m.error[0, 0] / (m.deviation[0, 0] / np.sqrt(2048)) < 1.05


def test_what_no_path_has_met_is_not_nought():
    """P(X > 6) = 1e-9: no path gets there. It said 0 in [0, 0], unbiased. What is known is that 0 <= u <= exp(-1)."""
    solution = solved(lambda x: jnp.where(x[0] > 6.0, 1.0, 0.0), lambda t, x, u, grad: -u)
    assert solution.result is Result.heavy_tailed and solution.guarantee is Guarantee.estimate
    assert -1e-6 < solution.low <= 1e-9 and np.exp(-1) <= solution.high < 0.4


def test_what_is_constant_is_known():
    solution = solved(lambda x: jnp.ones(()), lambda t, x, u, grad: -u)
    assert solution.guarantee is Guarantee.unbiased
    assert solution.low <= np.exp(-1) <= solution.high and solution.half_width < 1e-6


@pytest.mark.parametrize("unit", [1e-7, 1e7])
def test_the_unit_of_u_does_not_matter(unit):
    """Hopf and Cole, with g in another unit and the strength in its inverse. K was kept above 1e-6 in any unit."""
    problem = uc.ParabolicPDE(
        process=uc.Brownian(1, 1.0), horizon=1.0, source=lambda t, x, u, grad: -jnp.sum(grad**2) / unit / 2,
        terminal=lambda x: unit * x[0] ** 2 / 2,
    )
    solution = uc.solve(problem, [0.5], rtol=1e-2, progress=False, throw=False)
    assert solution.guarantee is Guarantee.unbiased and solution.result is Result.tolerance_met
    truth = unit * (0.5 * np.log(2.0) + 0.25 / 4)       # (log(1 + T) + x^2 / (1 + T)) / 2
    assert solution.low <= truth <= solution.high


@pytest.fixture
def sizes(monkeypatch):
    """Solves with a part of the paths that the pilot asks for; (paths before, paths after) of each final sample."""
    def solve(part, **options):
        choose, sample, found = Run._choose, Final._sample, []

        def too_few(self, *args):
            offer, bias = choose(self, *args)
            return replace(offer, counts=np.maximum((part * offer.counts).astype(int), 1)), bias

        def recorded(self, plan, points, missing, attempt, before):
            drawn, whole = sample(self, plan, points, missing, attempt, before)
            had = 0 if before is None else before.count
            found.append((had, had + drawn.count))
            return drawn, whole

        monkeypatch.setattr(Run, "_choose", too_few)
        monkeypatch.setattr(Final, "_sample", recorded)
        return solved(lambda x: jnp.cos(3 * x[0]), rtol=0.0, method="smoothing", **options), found

    return solve


def test_a_sample_that_falls_short_is_enlarged_not_forgotten(sizes):
    """A quarter: the first three samples are too small."""
    solution, found = sizes(0.25, atol=4e-3)
    assert len(found) == 4 and found[0][0] == 0
    assert all(after[0] == before[1] < after[1] for before, after in pairwise(found))   # each goes on from the last
    assert solution.stats["paths"] == found[-1][1]


def test_what_is_spent_on_rounding_is_planned_for():
    """A normal mean with 1e-2 to spend: (z sd / (0.95e-2 - spent))^2 paths, within a tenth; none where all is spent."""
    problem = uc.ParabolicPDE(process=uc.Brownian(1, 1.0), terminal=lambda x: x[0], horizon=1.0)
    certificate = Linear.of(analyse(problem, np.zeros((1, 1))), 1.0)
    samples = np.random.default_rng(3).standard_normal((1, 4096, 1)) * [1.0, 0.0, 0.0]     # slopes do not change
    for spent in (0.0, 3e-3, 6e-3):
        found = paths_needed(certificate, Moments.of(samples), np.zeros(1), (0.0, 1e-2), Z99, np.array([spent]))
        exact = (Z99 * samples[..., 0].std() / (0.95e-2 - spent)) ** 2
        assert exact <= found[0] <= 1.15 * exact
    assert paths_needed(certificate, Moments.of(samples), np.zeros(1), (0.0, 1e-2), Z99, np.array([1e-2])) is None


def test_a_sample_that_is_nearly_enough_grows_by_what_it_lacks(sizes):
    solution, found = sizes(0.8, atol=1e-3)
    assert solution.result is Result.tolerance_met and len(found) == 2
    assert 1.05 < found[1][1] / found[0][1] < 1.4
