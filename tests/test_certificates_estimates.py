"""Certificates that estimate: both nonlinearities together, and stepped processes; and what all certificates rest on.

Statistical comparisons are two-sided at 1e-6 each (`_problems.Z`), with fixed seeds; about 40 of them in this file.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _problems import POINT, Formula, T, W, Z, bent, bounds_of, holds, known, made, paths_of, sampler_of, square, wave

from uncurse import Guarantee
from uncurse.certificates import Linear, Model, Sampler, Stepped, fallback
from uncurse.certificates._model import Extended
from uncurse.certificates._paths import read_noise, words
from uncurse.certificates.mixed import errors_along
from uncurse.certificates.step import coarsen
from uncurse.problems import ParabolicPDE
from uncurse.processes import Brownian, Diffusion
from uncurse.statistics import Moments, draw_bits, normal, uniform
from uncurse.surrogates import Smoothed

# --- steps --------------------------------------------------------------------------------------------------------


def test_steps_see_how_curvature_changes_in_high_dimension():
    """A Gaussian in 50 dimensions, growing or decaying, with the exact surrogate: what a step leaves of S are terms of
    fourth order, O(h^2), so that S scatters like h^1.5 for small h. Half the step scatters 2.35 to 2.50 times less in
    five seeds, 0.0009 to 0.0010 of u; without the third order across the gradient 2.1 times, without the discount
    inside a step 2.05, and by twice and five times as much."""
    dim, scale = 50, 50.0
    for rate in (1.0, -1.0):
        def solution(t, x, rate=rate):
            left = scale + 1 - t
            size = jnp.exp(rate * (1 - t)) * (scale / left) ** (dim / 2)
            return size * jnp.exp(-jnp.sum(x**2) / (2 * left))

        problem = ParabolicPDE(
            process=Brownian(dim, 1.0), source=lambda t, x, u, grad, rate=rate: rate * u, horizon=1.0,
            terminal=lambda x, solution=solution: solution(1.0, x),
        )
        truth, scatter = float(solution(0.0, jnp.full(dim, 0.5))), []
        for steps in (4, 8):
            sampler = sampler_of(problem, np.full((1, dim), 0.5), steps)
            chunk, _ = paths_of(sampler, Formula(solution), truth, 4096)
            scatter.append(chunk.fine.total.std())
            assert abs(chunk.fine.total.mean(dtype=float) - truth) < Z * scatter[-1] / 64 + 1e-6 * truth
        assert scatter[0] / scatter[1] > 2.25 and scatter[1] < 1.3e-3 * truth, scatter


def test_f_beyond_the_range_of_u_is_its_tangent_and_has_slopes_at_the_ends():
    """u^1.5 has f_u = 0 and f_uu infinite at 0; its tangent at 1 is 1.5 u - 0.5."""
    extended, x = Extended(lambda t, x, u, grad: u**1.5, 0.0, 1.0), jnp.zeros(2)
    both = jax.vmap(jax.value_and_grad(lambda u: extended(0.0, x, u, x)))
    values, slopes = both(jnp.array([-1.0, 0.0, 0.25, 1.0, 2.0]))
    np.testing.assert_allclose(values, [0.0, 0.0, 0.125, 1.0, 2.5], atol=1e-6)
    np.testing.assert_allclose(slopes, [0.0, 0.0, 0.75, 1.5, 1.5], atol=1e-6)


# --- theorem 5: both together -------------------------------------------------------------------------------------


BURGERS = made(wave, lambda u, grad: (u - 0.5) * jnp.sum(grad) + 0.3 * grad[0] ** 2, Brownian(3, 0.6))


def mixed(surrogate, y0, seed=0, steps=20):
    sampler = sampler_of(BURGERS, POINT, steps)
    theorem = fallback(BURGERS, sampler, surrogate, np.array([y0]), jax.random.key(100 + seed))
    chunk, y0 = paths_of(sampler, surrogate, y0, 16384, seed)
    return bounds_of(theorem, chunk, y0)


def test_mixed_holds_the_truth_near_it_and_shrinks():
    truth = float(wave(0.0, jnp.asarray(POINT)))
    remainder = []
    for size in (0.2, 0.1, 0.0):
        bounds = mixed(Formula(bent, size), truth + size / 2)
        assert bounds.guarantee is Guarantee.estimate and holds(bounds, truth) and bounds.half_width[0] < 0.5
        remainder.append(bounds.budget["linearisation"][0])
    assert abs(np.log2((remainder[0] - remainder[2]) / (remainder[1] - remainder[2])) - 2) < 0.25, remainder


def test_mixed_refuses_a_surrogate_that_is_far_away():
    far = mixed(Formula(lambda t, x: 4 * jnp.sin(3 * x[0]) + 3.0), 5.0)
    assert np.isneginf(far.low[0]) and np.isposinf(far.high[0]) and np.isfinite(far.value[0])


FRONT = ParabolicPDE(
    process=Brownian(1, 1.0), source=lambda t, x, u, grad: 3 * (u - u**3), horizon=1.0,
    terminal=lambda x: jnp.where(x[0] > 0, 1.0, 0.0),
)


@pytest.mark.parametrize("seed", range(4))
def test_mixed_knows_that_f_enlarges_errors(seed):
    """u = 0 repels and u = 1 attracts: linearised about 1, errors decay, but where u is small they grow. Reference:
    Strang splitting with exact reaction and spectral heat steps, 4096 and 8192 nodes: 0.976445."""
    sampler, y0 = sampler_of(FRONT, [[0.2]], 10), np.array([0.9])
    surrogate = Smoothed.of(FRONT, 32, np.random.default_rng(seed))
    for i in range(6):
        y0 = paths_of(sampler, surrogate, y0, 4096, 50 * seed + i)[0].fine.total.mean(axis=1, dtype=np.float64)
    theorem = fallback(FRONT, sampler, surrogate, y0, jax.random.key(100 + seed))
    bounds = bounds_of(theorem, *paths_of(sampler, surrogate, y0, 65536, 50 * seed + 49), z=2.576)
    assert abs(bounds.value - 0.976445) > 0.015 and holds(bounds, 0.976445)


def test_errors_along_a_path_follow_f():
    sampler = sampler_of(FRONT, [[0.2]], 10)
    times, lengths = sampler.scheme.grid[:-1].astype(np.float32), sampler.scheme.shares.astype(np.float32)
    x, mismatch = np.zeros((10, 2, 1), np.float32), np.array([0.3, -1e-5], np.float32)

    def errors(f, y):
        problem = ParabolicPDE(process=Brownian(1, 1.0), source=f, horizon=1.0, terminal=lambda x: x[0])
        return errors_along(Model.of(problem), times, lengths, x, np.full((10, 2), y, np.float32), x, mismatch)

    linear = errors(lambda t, x, u, grad: -5 * u + grad[0], 0.7)
    np.testing.assert_allclose(linear, mismatch * np.exp(-5 * (1 - times[:, None])), rtol=1e-3)
    logistic = errors(lambda t, x, u, grad: u * (1 - u), 0.0)[0, 0]         # u itself: y' = y - y^2 from 0.3
    assert logistic == pytest.approx(0.3 * np.e / (0.7 + 0.3 * np.e), rel=2e-3)


# --- theorem 6: stepped processes ---------------------------------------------------------------------------------


def stepped(kind):
    """(problem, exact, point): a moment of a process that could be sampled exactly, but is stepped here."""
    if kind == "ornstein-uhlenbeck":
        process = Diffusion(1, lambda t, x: 2.0 * (0.5 - x), lambda t, x: 0.4 * jnp.ones((1, 1), dtype=x.dtype))
        truth = 0.5 + 1.0 * np.exp(-2 * T)
        return ParabolicPDE(process=process, terminal=lambda x: x[0], horizon=T), truth, [1.5]
    process = Diffusion(1, lambda t, x: 0.3 * x, lambda t, x: 0.5 * x[:, None])
    source = lambda t, x, u, grad: -0.4 * u     # noqa: E731
    truth = np.exp((2 * 0.3 + 0.25 - 0.4) * T)
    return ParabolicPDE(process=process, source=source, terminal=lambda x: x[0] ** 2, horizon=T), truth, [1.0]


@pytest.mark.parametrize("kind", ["ornstein-uhlenbeck", "geometric"])
def test_stepped_corrects_the_value_and_its_estimate_halves_with_the_step(kind):
    problem, truth, x = stepped(kind)
    theorem = Stepped.of(Linear.of(known(problem, x), T))
    surrogate = Formula(square, 1.0)
    shifts, errors = [], []
    for steps in (8, 16):
        sampler = sampler_of(problem, x, steps)
        chunk, y0 = paths_of(sampler, surrogate, truth, 2**16)
        bounds = bounds_of(theorem, chunk, y0)
        assert bounds.guarantee is Guarantee.estimate and holds(bounds, truth)
        fine, coarse = (np.asarray(c.total, dtype=np.float64) for c in (chunk.fine, chunk.coupled))
        shifts.append((fine - coarse).mean())
        errors.append(bounds.value[0] - truth)
        assert abs(bounds.budget["time step"][0]) > 0.9 * abs(shifts[-1])
        sampling = Z * (2 * fine - coarse).std() / np.sqrt(fine.size)
    rates = np.log2(np.abs(shifts[:-1]) / np.abs(shifts[1:]))
    assert np.all(np.abs(rates - 1) < 0.25), (rates, shifts)
    assert abs(errors[-1]) <= sampling + 0.2 * abs(shifts[-1])     # the correction took the first order away
    assert abs(fine.mean() - truth) > 0.7 * abs(shifts[-1])          # and there was one


def test_coarse_noise_is_the_same_noise():
    process = Diffusion(1, lambda t, x: -x, lambda t, x: jnp.ones((1, 1), dtype=x.dtype))
    scheme = sampler_of(ParabolicPDE(process=process, source=lambda t, x, u, grad: jnp.sin(u), terminal=lambda x: x[0],
                                     horizon=T), [0.0], 4).scheme
    bits = draw_bits(jax.random.key(0), (), (4, 50_000, words(process, scheme)))
    fine = read_noise(process, scheme, bits)
    coarse = jax.vmap(coarsen)(jax.tree.map(lambda a: a.reshape(2, 2, *a.shape[1:]), fine))

    def increments(noise, h):
        first, second = np.asarray(noise.first)[..., 0], np.asarray(noise.second)[..., 0]
        return np.sqrt(h) * (np.sqrt(noise.cut) * first + np.sqrt(1 - noise.cut) * second)

    sums = increments(fine, 0.1).reshape(2, 2, -1).sum(axis=1)
    np.testing.assert_allclose(increments(coarse, 0.2), sums, atol=3e-6)
    n = coarse.cut.size
    cut = np.sort(np.asarray(coarse.cut).ravel())
    assert np.abs(cut - (np.arange(n) + 0.5) / n).max() < 2.7 / np.sqrt(n)      # Kolmogorov: uniform, at 1e-6
    a, b = (np.asarray(c, dtype=np.float64).ravel() for c in (coarse.first, coarse.second))
    for product, exact in ((a, 0), (b, 0), (a**2, 1), (b**2, 1), (a * b, 0), (a * np.asarray(coarse.cut).ravel(), 0)):
        assert abs(product.mean() - exact) <= Z * product.std() / np.sqrt(n)


# --- what all of them rest on -------------------------------------------------------------------------------------


def test_moments_do_not_depend_on_how_the_sample_is_cut():
    rng = np.random.default_rng(0)
    sample = rng.normal(size=(3, 1000, 4)) * [1.0, 10.0, 0.1, 1.0] + [1e4, 0.0, -5.0, 3.0]
    whole, parts = Moments.of(sample), [Moments.of(s) for s in np.split(sample, [100, 450], axis=1)]
    merged = parts[0].merge(parts[1]).merge(parts[2])
    assert merged.count == 1000
    np.testing.assert_allclose(merged.mean, sample.mean(axis=1), rtol=1e-12)
    for found in (merged, whole):
        np.testing.assert_allclose(found.covariance, [np.cov(s.T) for s in sample], rtol=1e-9, atol=1e-12)
    assert np.all(np.abs(whole.kurtosis - 3) < 1)
    sample[1, 5, 2], sample[2, 7, 0] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        assert Moments.of(sample).invalid == 2


def test_points_and_chunks_do_not_mix():
    """Points that do not fill a block, and blocks that do not fill a chunk: each point keeps its own paths."""
    problem = made(wave, lambda u, grad: 0.7 * u + 0.3 * grad[0], Brownian(3, 0.7))
    points = np.linspace(-1, 1, 7)[:, None] * W
    sampler = sampler_of(problem, points, 2)
    small = Sampler(sampler.model, sampler.scheme, points, 4)
    truth = np.asarray(jax.vmap(wave, (None, 0))(0.0, jnp.asarray(points)))
    y0 = truth + 0.0
    chunk = small.pilot(Formula(bent, 0.1), y0, jax.random.key(2), 600)
    assert chunk.fine.total.shape == (7, 600)
    theorem = Linear.of(known(problem), T)
    bounds = bounds_of(theorem, chunk, y0)
    assert holds(bounds, truth) and np.all(bounds.half_width < 0.5)
    streamed = list(small.moments(Formula(bent, 0.1), y0, jax.random.key(2), 600, theorem))[-1]
    np.testing.assert_allclose(streamed.mean[:, 0], bounds.value, rtol=1e-6)
    paths = np.stack([np.ravel(chunk.fine.total), np.ravel(chunk.fine.payoff)], axis=1)
    assert len(np.unique(paths, axis=0)) == len(paths)


def test_bits_make_uniforms_and_normals():
    n = 2**20
    u = np.sort(np.asarray(uniform(draw_bits(jax.random.key(1), (2, 3), (n,))), dtype=np.float64))
    assert np.abs(u - (np.arange(n) + 0.5) / n).max() < 2.7 / np.sqrt(n)        # Kolmogorov, at 1e-6
    z = np.asarray(normal(draw_bits(jax.random.key(1), (2, 4), (n,))), dtype=np.float64)
    for power, exact in ((1, 0), (2, 1), (3, 0), (4, 3), (6, 15)):
        assert abs((z**power).mean() - exact) <= Z * (z**power).std() / np.sqrt(n)
    ends = np.asarray(normal(jnp.asarray([0, 2**32 - 1], dtype=jnp.uint32)))
    assert ends[0] == -ends[1] and 5 < ends[1] < 6      # symmetric and finite at both ends
