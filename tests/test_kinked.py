"""Theorem 4b: an f with kinks in u. What is proved of its slope, what that leaves of a tangent, and the interval."""

import jax.numpy as jnp
import numpy as np
import pytest
from _problems import Formula, bounds_of, paths_of, sampler_of
from scipy.stats import norm

import uncurse as uc
from uncurse.analysis import analyse
from uncurse.certificates import Kinked, Value
from uncurse.certificates._bending import Bending

KINKS = (50.0, 70.0)        # of the default-risk case, where f_u jumps by 0.15 and 0.21


def risk(u):
    q = np.clip(0.2 - 0.009 * (u - 50), 0.02, 0.2)
    return -q * u / 3 - 0.02 * u


def risk_slope(u):
    q = np.clip(0.2 - 0.009 * (u - 50), 0.02, 0.2)
    return -q / 3 - 0.02 + 0.003 * u * ((u > 50) & (u < 70))


@pytest.fixture(scope="module")
def variation():
    case = uc.zoo.default_risk(dim=3)
    return analyse(case.problem, case.at[None]).variation.value


def test_kinks_are_found_where_they_are(variation):
    biggest = np.sort(np.argsort(variation.jump)[-2:])
    for i, kink, jump in zip(biggest, KINKS, (0.15, 0.21), strict=True):
        assert variation.low[i] <= kink <= variation.high[i] and variation.high[i] - variation.low[i] < 1e-3
        assert abs(variation.jump[i] - jump) < 1e-5
    assert abs(variation.jump.sum() - (0.15 + 0.12 + 0.21)) < 1e-4      # between the kinks f_u rises by 0.12
    assert variation.low[0] == -np.inf and variation.high[-1] == np.inf
    assert (variation.low[1:] == variation.high[:-1]).all()
    assert np.allclose(variation.slope, (-0.2 / 3 - 0.02, -0.02 / 3 - 0.02 + 0.21), atol=1e-4)


def test_what_a_tangent_leaves_is_bounded_and_not_by_much(variation):
    rng = np.random.default_rng(0)
    y, e = rng.uniform(30, 90, 20_000), rng.exponential(3, 20_000)
    bound = np.asarray(Bending.of(variation).remainder(jnp.asarray(y, jnp.float32), jnp.asarray(e, jnp.float32)))
    left = [np.abs(risk(y + s * e) - risk(y) - s * risk_slope(y) * e) for s in (1, -1)]
    assert (bound >= np.maximum(*left) - 1e-5).all()
    assert bound.sum() < 1.2 * np.maximum(*left).sum()
    far = np.abs(y[:, None] - np.array(KINKS)).min(axis=1) > e
    smooth = far & (y > 50) & (y < 70)
    assert (bound[smooth] <= 0.003 * e[smooth] ** 2 + 3e-4 * e[smooth]).all()       # sup |f_uu| / 2 = 0.003


def test_far_cells_do_not_drown_those_that_matter():
    """f_u keeps on varying out to where u is a million; sums over all cells in single precision lost the kink."""
    problem = uc.ParabolicPDE(
        process=uc.Brownian(1, 1.0), source=lambda t, x, u, grad: 0.3 * jnp.abs(u + 2) + 0.1 * jnp.sin(u),
        terminal=lambda x: x[0], horizon=0.5,
    )
    variation = analyse(problem, np.zeros((1, 1))).variation.value
    rng = np.random.default_rng(0)
    y, e = rng.uniform(-6, 6, 20_000), rng.exponential(1, 20_000)
    bound = np.asarray(Bending.of(variation).remainder(jnp.asarray(y, jnp.float32), jnp.asarray(e, jnp.float32)))
    f, slope = (lambda u: 0.3 * abs(u + 2) + 0.1 * np.sin(u)), (lambda u: 0.3 * np.sign(u + 2) + 0.1 * np.cos(u))
    left = [np.abs(f(y + s * e) - f(y) - s * slope(y) * e) for s in (1, -1)]
    assert (bound >= np.maximum(*left) - 1e-4).all()


def test_a_kink_at_the_end_of_the_range():
    """u <= 0 is proved, and f = -max(u, 0) / 2 has its kink there: f vanishes, and u is minus a put."""
    spot, strike, sigma = 150.0, 100.0, 0.4
    problem = uc.ParabolicPDE(
        process=uc.GeometricBrownian(1, 0.0, sigma), source=lambda t, x, u, grad: -0.5 * jnp.maximum(u, 0.0),
        terminal=lambda x: -jnp.maximum(strike - x[0], 0.0), horizon=1.0,
    )
    low, high = analyse(problem, np.array([[spot]])).slope.value
    assert low <= -0.25 and high >= 0       # JAX continues f from the tie with the mean of both slopes
    solution = uc.solve(problem, [spot], rtol=0.0, atol=0.02, method="smoothing", progress=False, throw=False)
    d = np.log(spot / strike) / sigma + np.array([0.5, -0.5]) * sigma
    put = strike * norm.cdf(-d[1]) - spot * norm.cdf(-d[0])
    assert solution.low <= -put <= solution.high, (put, str(solution))


@pytest.mark.parametrize("source", [
    lambda t, x, u, grad: jnp.abs(u) * (1 + x[0]),          # the slope depends on x
    lambda t, x, u, grad: jnp.abs(u) + jnp.abs(grad[0]),    # kinks in the gradient
    lambda t, x, u, grad: u - u**3,                         # smooth: theorem 4
    lambda t, x, u, grad: jnp.where(u > 0.5, u, 0.0),       # f jumps
])  # fmt: skip
def test_where_nothing_is_proved_there_is_no_theorem(source):
    problem = uc.ParabolicPDE(
        process=uc.Brownian(2, 1.0), source=source, terminal=lambda x: jnp.cos(x[0]), horizon=0.5,
        bounds=uc.SourceBounds(value_range=(-3.0, 3.0)),
    )
    assert Kinked.of(analyse(problem, np.zeros((1, 2))), 0.5, 0.1) is None


def test_far_from_its_kinks_it_says_what_theorem_4_says():
    """The same f with a kink that no path comes near: the linearisation part is at most that of the smooth f."""
    def solve(source, of):
        problem = uc.ParabolicPDE(
            process=uc.Brownian(2, 1.0), source=source, terminal=lambda x: jnp.cos(x[0]), horizon=0.5,
            bounds=uc.SourceBounds(value_range=(-2.0, 2.0)),
        )
        at = np.zeros(2)
        sampler = sampler_of(problem, at, 8)
        chunk, y0 = paths_of(sampler, Formula(lambda t, x: jnp.cos(x[0])), [0.9], 4096)
        certificate = of(analyse(problem, at[None]))
        return bounds_of(certificate, chunk, y0)

    smooth = solve(lambda t, x, u, grad: -0.2 * u**2, lambda s: Value.of(s, 0.5))
    kinked = solve(lambda t, x, u, grad: -0.2 * u**2 + jnp.maximum(u - 1.9, 0.0), lambda s: Kinked.of(s, 0.5, 1 / 16))
    assert 0 < kinked.budget["linearisation"][0] < 3 * (
        smooth.budget["linearisation"][0] + smooth.budget["time step"][0]
    )
    assert abs(kinked.value[0] - smooth.value[0]) < 1e-2


def test_a_whole_solve_proves_an_equation_with_kinks():
    case = uc.zoo.default_risk(dim=1)
    solution = uc.solve(case.problem, case.at, rtol=3e-3, progress=False)
    assert solution.guarantee is uc.Guarantee.two_sided and solution.stats["certificate"] == "Kinked"
    assert solution.low <= case.reference <= solution.high
    assert any("depends on u alone" in said for said in solution.assumptions)
