"""Each theorem against exact answers, with surrogates that are exact, wrong or 0.

Statistical comparisons are two-sided at 1e-6 each (`_problems.Z`), with fixed seeds; about 100 of them in this file.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _problems import POINT, ZERO, Formula, T, Z, at_once, bent, holds, known, made, sampler_of, square, wave

from uncurse import Guarantee
from uncurse.certificates import Directional, GradientSmooth, Linear, Lipschitz, Scheme, Value, fallback
from uncurse.certificates._paths import read_noise, twin, words
from uncurse.classical import grid, quadrature
from uncurse.problems import ParabolicPDE, SourceBounds
from uncurse.processes import Brownian, GeometricBrownian, OrnsteinUhlenbeck
from uncurse.statistics import draw_bits

# --- theorem 1: linear --------------------------------------------------------------------------------------------


LINEAR = {
    "brownian": made(wave, lambda u, grad: 0.7 * u + 0.3 * grad[0] - 0.5 * grad[2], Brownian(3, [0.5, 1.0, 0.7])),
    "ornstein-uhlenbeck": made(wave, lambda u, grad: -0.9 * u + 0.4 * grad[1], OrnsteinUhlenbeck(3, 1.2, 0.6, 0.1)),
}


@pytest.mark.parametrize("steps", [2, 20])
@pytest.mark.parametrize("name", LINEAR)
def test_linear_is_unbiased_for_any_surrogate_and_number_of_steps(name, steps):
    problem, truth = LINEAR[name], float(wave(0.0, jnp.asarray(POINT)))
    theorem = Linear.of(known(problem), T)
    spreads = {}
    for label, constants in (("exact", (0.0, 1.0)), ("wrong", (0.8, 1.0)), ("zero", (0.0, 0.0))):
        bounds = at_once(problem, theorem, Formula(bent, *constants), POINT, steps)
        assert bounds.guarantee is Guarantee.unbiased and holds(bounds, truth)
        assert bounds.budget["linearisation"][0] == bounds.budget["time step"][0] == 0
        spreads[label] = bounds.half_width[0]
    assert spreads["exact"] < 0.7 * min(spreads["wrong"], spreads["zero"])
    if steps == 20:
        assert spreads["exact"] < 0.25 * spreads["zero"]        # what is left of its noise falls with the step


def test_linear_on_a_geometric_brownian_motion_moves_the_drift():
    # L u + a sum x_i u_i - r u + 1 = 0, g = |x|^2
    a, r, sigma = 0.2, 0.5, np.array([0.3, 0.2])
    problem = ParabolicPDE(
        process=GeometricBrownian(2, 0.1, sigma, [[1.0, 0.4], [0.4, 1.0]]), horizon=T,
        source=lambda t, x, u, grad: a * x @ grad - r * u + 1.0, terminal=lambda x: x @ x,
    )
    x = np.array([1.0, 0.7])
    truth = np.exp(-r * T) * (x**2 @ np.exp((2 * (0.1 + a) + sigma**2) * T)) + (1 - np.exp(-r * T)) / r
    theorem = Linear.of(known(problem, x), T)
    for steps in (2, 20):
        for scale in (0.0, 1.5):
            bounds = at_once(problem, theorem, Formula(square, scale), x, steps)
            assert bounds.guarantee is Guarantee.unbiased and bounds.budget["time step"][0] == 0
            assert holds(bounds, truth) and bounds.half_width[0] < 0.05 * truth


def test_linear_refuses_a_potential_that_varies_and_the_estimate_holds():
    # u_t + u_xx / 2 - k^2 x^2 u / 2 = 0, g = 1: u = exp(-k x^2 tanh(k T) / 2) / sqrt(cosh(k T)) (Cameron, Martin 1945)
    k, x = 1.5, 0.5
    problem = ParabolicPDE(
        process=Brownian(1, 1.0), source=lambda t, x, u, grad: -(k**2) / 2 * jnp.sum(x**2) * u,
        terminal=lambda x: 1.0 + 0.0 * x[0], horizon=T,
    )
    truth = np.exp(-k * x**2 * np.tanh(k * T) / 2) / np.sqrt(np.cosh(k * T))
    surrogate, widths = Formula(lambda t, x: 1.0 - 0.2 * x @ x), []
    for steps in (8, 32):
        refused = at_once(problem, Linear.of(known(problem, [x]), T), surrogate, [x], steps, y0=[truth])
        assert np.isneginf(refused.low[0]) and np.isposinf(refused.high[0])
        sampler = sampler_of(problem, [x], steps)
        estimate = fallback(problem, sampler, surrogate, np.array([truth]), jax.random.key(5))
        bounds = at_once(problem, estimate, surrogate, [x], steps, y0=[truth])
        assert bounds.guarantee is Guarantee.estimate and holds(bounds, truth) and bounds.half_width[0] < 0.3
        widths.append(bounds.bias[0])
    assert 0 < widths[1] < 0.7 * widths[0]


# --- theorem 2: smooth in the gradient ----------------------------------------------------------------------------


LAMBDA = 1.5
XI, WEIGHT = np.polynomial.hermite_e.hermegauss(40)


def log_cost(x):
    return jnp.log((1 + jnp.sum(x**2)) / 2)


def hopf_cole(t, x, size):
    """u of u_t + Lap u - LAMBDA |grad u|^2 = 0 on a line, and a perturbation of it."""
    y = x[0] + jnp.sqrt(2 * jnp.maximum(T - t, 1e-6)) * XI.astype(np.float32)
    u = -jax.nn.logsumexp(np.log(WEIGHT / WEIGHT.sum()).astype(np.float32) - LAMBDA * jnp.log((1 + y**2) / 2)) / LAMBDA
    return u + size * jnp.sin(2 * x[0] + t)


def hjb(dim, strength=LAMBDA):
    """The Hamilton-Jacobi-Bellman equation and u(0, 0)."""
    problem = ParabolicPDE(
        process=Brownian(dim, np.sqrt(2.0)), source=lambda t, x, u, grad: -strength * jnp.sum(grad**2),
        terminal=log_cost, horizon=T,
    )
    return problem, quadrature.hopf_cole(lambda r: np.log((1 + r**2) / 2), dim=dim, horizon=T, strength=strength).value


HJB, HJB_TRUTH = hjb(1)


def test_gradient_smooth_exact_for_the_quadratic():
    problem, truth = hjb(3, 0.7)
    theorem = GradientSmooth.of(known(problem), None)
    assert theorem.sign == -1 and abs(theorem.curvature - 0.7) < 1e-5
    for steps in (2, 20):
        for tilt in (0.0, 0.3):
            surrogate = Formula(lambda t, x, a: jnp.log((1 + x @ x + 6 * (T - t)) / 2) + a * x[0], tilt)
            bounds = at_once(problem, theorem, surrogate, np.zeros(3), steps, y0=[1.1])
            assert bounds.guarantee is Guarantee.unbiased and holds(bounds, truth) and bounds.half_width[0] < 0.05


def test_gradient_smooth_bounds_collapse_at_second_order():
    """Not told that f is quadratic: both ends hold, and the gap falls like the square of the surrogate's error."""
    theorem = GradientSmooth((), LAMBDA, 0.0, True, None, 0)
    sizes, gaps = [0.2, 0.1, 0.0], []
    for size in sizes:
        bounds = at_once(HJB, theorem, Formula(hopf_cole, size), [0.0], steps=64, y0=[HJB_TRUTH])
        assert bounds.guarantee is Guarantee.two_sided and holds(bounds, HJB_TRUTH)
        gaps.append(bounds.budget["linearisation"][0])
    assert gaps[2] < 0.1 * gaps[0]
    rate = np.log2((gaps[0] - gaps[2]) / (gaps[1] - gaps[2]))
    assert abs(rate - 2) < 0.25, (rate, gaps)


@pytest.mark.parametrize("size", [-0.4, 0.0, 0.3])
def test_a_policy_that_one_can_run_costs_at_least_the_value(size):
    """f concave: the upper end is the mean of a cost, for any surrogate; it is closer than the exponential bound."""
    with_shape, without = (GradientSmooth((), LAMBDA, 0.0, True, s, 0) for s in ("concave", None))
    surrogate = Formula(hopf_cole, size)
    better, worse = (at_once(HJB, theorem, surrogate, [0.0], 20, y0=[HJB_TRUTH]) for theorem in (with_shape, without))
    assert holds(better, HJB_TRUTH) and holds(worse, HJB_TRUTH)
    assert better.low[0] == worse.low[0] and better.high[0] <= worse.high[0]


def test_gradient_smooth_refuses_exponents_that_scatter():
    problem, truth = hjb(1, 40.0)
    bounds = at_once(problem, GradientSmooth.of(known(problem, [0.0]), None), ZERO, [0.0])
    assert bounds.guarantee is Guarantee.upper_bound
    assert np.isneginf(bounds.low[0]) and truth <= bounds.high[0] < np.inf and np.isfinite(bounds.value[0])


def of_line(source, np_source, terminal, np_terminal, sigma=1.0, at=0.2, drift=0.0, **bounds):
    """A problem on a line, and its answer by finite differences."""
    problem = ParabolicPDE(
        process=Brownian(1, sigma), source=source, terminal=terminal, horizon=T, bounds=SourceBounds(**bounds)
    )
    answer = grid.value(
        lambda x: drift + 0 * x, lambda x: sigma + 0 * x, np_source, np_terminal,
        at=at, horizon=T, interval=(at - 8 * sigma, at + 8 * sigma), nodes=601, steps=150,
    )
    return problem, answer.value, answer.error


def cosine(t, x, a, b):
    return a * jnp.cos(x[0]) + b * x[0]


WRONG = [Formula(cosine, 0.0, 0.0), Formula(cosine, 1.0, 0.0), Formula(cosine, 0.6, 0.2)]


@pytest.mark.parametrize("shape", ["concave", None])
def test_gradient_smooth_without_a_quadratic(shape):
    problem, truth, error = of_line(
        lambda t, x, u, grad: -jnp.sqrt(1 + 4 * jnp.sum(grad**2)), lambda t, x, u, p: -np.sqrt(1 + 4 * p**2),
        lambda x: jnp.cos(x[0]), np.cos, sigma=1.25, shape=shape, gradient_curvature=4 / 1.25**2,
    )
    theorem = GradientSmooth.of(known(problem, [0.2]), None)
    for surrogate in WRONG[1:]:
        bounds = at_once(problem, theorem, surrogate, [0.2], y0=[truth])
        assert error < 0.01 * bounds.half_width[0] and bounds.guarantee is Guarantee.two_sided and holds(bounds, truth)


def test_gradient_smooth_with_slopes_that_vary_along_a_step():
    problem, truth, error = of_line(
        lambda t, x, u, grad: -(1 + 0.8 * jnp.sin(3 * x[0])) / 2 * jnp.sum(grad**2),
        lambda t, x, u, p: -(1 + 0.8 * np.sin(3 * x)) / 2 * p**2,
        lambda x: jnp.cos(x[0]), np.cos, shape="concave", gradient_curvature=1.8,
    )
    theorem = GradientSmooth.of(known(problem, [0.2]), None)
    gaps = []
    for steps in (2, 20):
        for surrogate in WRONG:
            bounds = at_once(problem, theorem, surrogate, [0.2], steps, y0=[truth])
            assert bounds.guarantee is Guarantee.two_sided and holds(bounds, truth)
            assert error < 0.01 * bounds.half_width[0]
        gaps.append(bounds.budget["linearisation"][0])
    assert gaps[1] < gaps[0]


# --- theorem 3: Lipschitz -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["convex", None])
def test_lipschitz_with_kinks_in_value_and_gradient(shape):
    problem, truth, error = of_line(
        lambda t, x, u, grad: 0.3 * jnp.abs(grad[0]) + 0.4 * jnp.maximum(u, 0.0),
        lambda t, x, u, p: 0.3 * np.abs(p) + 0.4 * np.maximum(u, 0.0),
        lambda x: jnp.cos(x[0]) - 0.5, lambda x: np.cos(x) - 0.5, slope=(0.0, 0.4), gradient_slope=0.6,
    )
    theorem = replace(Lipschitz.of(known(problem, [0.2]), T, T / 5), shape=shape)
    assert (theorem.slope, theorem.dz) == ((0.0, 0.4), 0.6)
    reach = []
    for surrogate in WRONG:
        bounds = at_once(problem, theorem, surrogate, [0.2], y0=[truth])
        assert error < 0.01 * bounds.half_width[0] and bounds.guarantee is Guarantee.two_sided and holds(bounds, truth)
        reach.append(bounds.half_width[0])
    assert max(reach) < 2.0


def test_lipschitz_is_sharp_enough_to_see_the_kink():
    """f = delta |grad|, g = x, so that u = x + delta T: holds also for a surrogate that chooses the other side."""
    delta = 0.5
    problem = ParabolicPDE(
        process=Brownian(1, 1.0), source=lambda t, x, u, grad: delta * jnp.abs(grad[0]), terminal=lambda x: x[0],
        horizon=T, bounds=SourceBounds(gradient_slope=2 * delta),
    )
    theorem = Lipschitz.of(known(problem, [0.0]), T, T / 5)
    assert theorem.shape == "convex"
    for slope in (-1.0, 1.0):
        bounds = at_once(problem, theorem, Formula(lambda t, x, s: s * x[0], slope), [0.0], y0=[0.0])
        assert holds(bounds, delta * T)
    assert abs(bounds.low[0] - delta * T) < 1e-4     # the right policy: the convex end is the value itself


def one_kink(**more):
    """f = 0.15 |sum grad|: df/dz jumps by 0.3 sqrt(3) / 0.5, along (1, 1, 1) alone."""
    jump = 0.3 * np.sqrt(3) / 0.5
    return made(
        wave, lambda u, grad: 0.15 * jnp.abs(jnp.sum(grad)), Brownian(3, 0.5),
        bounds=SourceBounds(gradient_slope=jump, **more),
    )


def test_directional_holds_the_truth_and_is_narrower():
    problem, truth = one_kink(gradient_directions=1), float(wave(0.0, jnp.asarray(POINT)))
    source = known(problem)
    np.testing.assert_allclose(np.abs(source.directions.value), np.full((1, 3), 3**-0.5), rtol=1e-5)
    plain = replace(Lipschitz.of(source, T, T / 5), shape=None)
    sharp = Directional.of(source, plain)
    biases = []
    for scale in (-1.0, 0.0, 1.0, 2.0):
        surrogate = Formula(bent, 0.1, scale)
        narrow, wide = (at_once(problem, theorem, surrogate, POINT, y0=[truth]) for theorem in (sharp, plain))
        assert narrow.guarantee is Guarantee.two_sided and holds(narrow, truth) and holds(wide, truth)
        np.testing.assert_allclose(narrow.value, wide.value)
        assert narrow.half_width[0] < 0.8 * wide.half_width[0]
        biases.append(abs(narrow.value[0] - truth) - narrow.budget["sampling"][0])
    assert max(biases) > 0.02       # noise alone would not have held the truth


def test_directional_is_off_without_directions_and_refuses_wrong_ones():
    source = known(one_kink())
    assert source.directions is None and Directional.of(source, Lipschitz.of(source, T, T / 5)) is None
    two = made(
        wave, lambda u, grad: jnp.abs(grad[0]) + jnp.abs(grad[1] - grad[2]), Brownian(3, 0.5),
        bounds=SourceBounds(gradient_slope=9.0, gradient_directions=1),
    )
    with pytest.raises(ValueError, match=r"gradient_directions=1.*2 directions"):
        known(two)


def test_twins_differ_along_the_directions_alone():
    process, n = Brownian(3, 0.5), 2**16
    scheme = Scheme(1, random_time=True, second_order=False, track=False)
    basis = jnp.asarray([[0.6, 0.8, 0.0]])
    bits = draw_bits(jax.random.key(0), (), (n, words(process, scheme, 1)))
    noise, other = read_noise(process, scheme, bits), twin(process, scheme, bits, basis)
    for a, b in ((noise.first, other.first), (noise.second, other.second)):
        a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
        outside = np.array([[-0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])
        np.testing.assert_allclose(a @ outside.T, b @ outside.T, atol=2e-6)
        along, fresh = a @ np.array(basis[0]), b @ np.array(basis[0])
        for product, exact in ((along * fresh, 0), (fresh, 0), (fresh**2, 1)):
            assert abs(product.mean() - exact) <= Z * product.std() / np.sqrt(n)
    np.testing.assert_array_equal(noise.cut, other.cut)


# --- theorem 4: nonlinear in u ------------------------------------------------------------------------------------


def reaction(**bounds):
    return made(
        wave, lambda u, grad: 1.5 * jnp.sin(2 * u) + 0.2 * grad[0], Brownian(3, 0.5),
        bounds=SourceBounds(slope=(-3.0, 3.0), curvature=6.0, **bounds),
    )


def test_value_remainder_holds_the_bias_and_both_are_of_second_order():
    problem, truth = reaction(), float(wave(0.0, jnp.asarray(POINT)))
    theorem = Value.of(known(problem), T)
    bias, bounds = {}, {}
    for size in (0.16, 0.08, 0.0, -0.08, -0.16):
        found = bounds[size] = at_once(problem, theorem, Formula(bent, size), POINT, steps=10, count=2**16)
        bias[size] = found.value[0] - truth
        assert found.guarantee is Guarantee.two_sided and holds(found, truth)
    # the bias is real: without the remainder the interval would miss
    assert abs(bias[0.16]) > 3 * bounds[0.16].budget["sampling"][0]
    even = [(bias[s] + bias[-s]) / 2 - bias[0.0] for s in (0.16, 0.08)]       # the same noise: differences are sharp
    rate = np.log2(even[0] / even[1])
    assert abs(rate - 2) < 0.25, (rate, bias)
    claimed = [bounds[s].budget["linearisation"][0] for s in (0.16, 0.08, 0.0)]
    assert claimed[2] < 0.1 * claimed[0]
    assert abs(np.log2((claimed[0] - claimed[2]) / (claimed[1] - claimed[2])) - 2) < 0.25, claimed


def test_value_is_one_sided_where_the_source_is_convex():
    problem = made(
        wave, lambda u, grad: jnp.sqrt(0.3 + u**2), Brownian(3, 0.5),
        bounds=SourceBounds(shape="convex", slope=(-1.0, 1.0), curvature=0.3**-0.5),
    )
    truth = float(wave(0.0, jnp.asarray(POINT)))
    theorem = Value.of(known(problem), T)
    bounds = at_once(problem, theorem, Formula(bent, 0.5), POINT)
    assert holds(bounds, truth)
    assert bounds.low[0] == bounds.value[0] - bounds.budget["sampling"][0] - bounds.budget["time step"][0]
    assert bounds.high[0] - bounds.value[0] > bounds.value[0] - bounds.low[0]


def test_value_refuses_where_the_drift_of_the_source_varies():
    problem = ParabolicPDE(
        process=Brownian(3, 0.5), source=lambda t, x, u, grad: jnp.sin(u) + x @ grad, terminal=lambda x: wave(T, x),
        horizon=T, bounds=SourceBounds(slope=(-1.0, 1.0), curvature=1.0),
    )
    bounds = at_once(problem, Value.of(known(problem), T), Formula(wave), POINT)
    assert bounds.guarantee is Guarantee.estimate and np.isposinf(bounds.half_width[0])
