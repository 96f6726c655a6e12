"""The baselines against known answers. Seeds are fixed; with new ones, a comparison at z = 4.89 fails once in 1e6."""

import json
import math
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from _problems import Z

import uncurse as uc
from benchmarks.baselines import deep_bsde, linearised_mc, multilevel_picard
from benchmarks.baselines._common import gradient_of


def drifting() -> tuple[uc.ParabolicPDE, np.ndarray, float]:
    """u = exp(-r s) (a . (x + b s) + h / r) - h / r, s = T - t: a discount, a drift and a constant, on a skew noise."""
    a, b, r, h, horizon = np.array([1.0, -2.0]), np.array([0.5, 0.3]), 0.7, 1.1, 0.8
    problem = uc.ParabolicPDE(
        process=uc.Brownian(2, np.array([[0.5, 0.2], [0.0, 0.8]])), horizon=horizon,
        source=lambda t, x, u, grad: jnp.asarray(b, x.dtype) @ grad - r * u - h,
        terminal=lambda x: jnp.asarray(a, x.dtype) @ x,
    )
    at = np.array([0.4, 0.9])
    return problem, at, float(math.exp(-r * horizon) * (a @ (at + b * horizon) + h / r) - h / r)


def assert_unbiased(values, truth: float) -> None:
    values = np.asarray(values, dtype=np.float64)
    assert abs(values.mean() - truth) < Z * values.std(ddof=1) / np.sqrt(len(values)), (values.mean(), truth)


@pytest.mark.parametrize("process", [
    uc.Brownian(3, np.array([0.5, 1.0, 2.0])),
    uc.Brownian(3, np.array([[1.0, 0.4, 0.0], [0.0, 2.0, 0.1], [0.0, 0.0, 0.5]])),
    uc.GeometricBrownian(3, 0.1, np.array([0.2, 0.3, 0.4]), np.full((3, 3), 0.4) + 0.6 * np.eye(3)),
    uc.OrnsteinUhlenbeck(3, 1.0, 0.5),
])  # fmt: skip
def test_the_gradient_is_found_back_from_z(process):
    x, grad, t = jnp.array([1.0, 0.7, 1.4]), jnp.array([0.3, -1.0, 2.0]), jnp.float32(0.2)
    z = process.noise(t, x, process.pull(x, grad))
    assert np.allclose(gradient_of(process, t, x, z), grad, rtol=1e-5)


# --- linearised Monte Carlo ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["drifting", "black-scholes-barenblatt"])
def test_linearised_monte_carlo_is_exact_where_the_equation_is_linear(name):
    if name == "drifting":
        problem, at, truth = drifting()
    else:
        case = uc.zoo.get(name, dim=10)
        problem, at, truth = case.problem, case.at, case.reference
    found = linearised_mc.solve(problem, at, 65_536)
    assert found.done == 65_536
    assert found.spread < 0.01 * abs(truth)
    assert abs(found.value - truth) < Z * found.spread


def test_linearised_monte_carlo_keeps_the_error_of_linearisation():
    """f = -|grad u|^2 has slope 0 at grad = 0, so what is left is E g, above u by several per cent in 10 dimensions."""
    case = uc.zoo.hjb(dim=10)
    normals = np.random.default_rng(0).standard_normal((1_000_000, 10), dtype=np.float32)
    free = np.log((1 + 2 * np.sum(normals**2, axis=1)) / 2)
    found = linearised_mc.solve(case.problem, case.at, 65_536)
    assert abs(found.value - free.mean()) < Z * math.hypot(found.spread, free.std() / 1000)
    assert found.value - case.reference > 20 * found.spread


# --- multilevel Picard --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_level_has_the_mean_of_a_picard_iterate(level):
    """f is affine, so E U_n solves u_n = g + int f(u_{n-1}), by hand: a polynomial in T."""
    problem, at, _ = drifting()
    a, b, r, h, horizon = np.array([1.0, -2.0]), np.array([0.5, 0.3]), 0.7, 1.1, 0.8
    # u_n = p(s) a.x + q(s), s = T - t, with p' = -r p_old and q' = a.b p_old - r q_old - h: U_0 = 0 has p = q = 0
    p = q = np.polynomial.Polynomial([0.0])
    for _ in range(level):
        p, q = 1 - r * p.integ(), float(a @ b) * p.integ() - r * q.integ() - h * np.polynomial.Polynomial([0.0, 1.0])
    values = multilevel_picard.runs_of(problem, at, level, samples=3, runs=8_000, seed=0)
    assert_unbiased(values, p(horizon) * float(a @ at) + q(horizon))


def test_a_level_on_geometric_brownian_motion():
    """f = r (x . grad u), g = sum x: u_n is the sum of x times the first n terms of exp(r T)."""
    r, horizon, x = 0.6, 1.0, np.array([1.0, 0.5, 2.0])
    problem = uc.ParabolicPDE(
        process=uc.GeometricBrownian(3, 0.0, 0.3), horizon=horizon, terminal=jnp.sum,
        source=lambda t, x, u, grad: r * x @ grad,
    )
    values = multilevel_picard.runs_of(problem, x, 3, samples=3, runs=8_000, seed=1)
    assert_unbiased(values, float(x.sum()) * (1 + r + r**2 / 2))


@pytest.mark.parametrize(("name", "level", "close"), [("allen-cahn", 5, 0.01), ("semilinear-heat", 5, 0.01)])
def test_multilevel_picard_comes_near_a_reference(name, level, close):
    """In ten dimensions, within 1 per cent: the answer without f is 20 % off or more."""
    case = uc.zoo.get(name, dim=10)
    errors = [
        abs(multilevel_picard.solve(case.problem, case.at, n, seed=2).value / case.reference - 1) for n in (1, level)
    ]
    assert errors[1] < close < 0.05 < errors[0], errors


def test_multilevel_picard_finds_a_control():
    """f = -|grad u|^2 over a short time: what f does is found to a fifth of it: 4 standard errors, and a bias."""
    dim, horizon, start = 3, 0.05, 0.2
    problem = uc.ParabolicPDE(
        process=uc.Brownian(dim, np.sqrt(2.0)), source=lambda t, x, u, grad: -jnp.sum(grad**2), horizon=horizon,
        terminal=lambda x: jnp.sin(jnp.sum(x)) / 4,
    )
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)     # Hopf and Cole; sum x has variance 2 d T
    g, weights = np.sin(start + np.sqrt(2 * dim * horizon) * nodes) / 4, weights / weights.sum()
    truth, free = -np.log(weights @ np.exp(-g)), weights @ g
    values = multilevel_picard.runs_of(problem, np.full(dim, start / dim), 3, samples=16, runs=100, seed=3)
    assert abs(values.mean() - truth) < 0.2 * abs(free - truth)


def test_multilevel_picard_refuses_a_process_without_its_weight():
    problem = uc.ParabolicPDE(process=uc.OrnsteinUhlenbeck(2, 1.0, 1.0), terminal=jnp.sum, horizon=1.0,
                              source=lambda t, x, u, grad: grad[0])  # fmt: skip
    with pytest.raises(ValueError, match="OrnsteinUhlenbeck"):
        multilevel_picard.solve(problem, np.zeros(2), 1)


# --- deep BSDE ----------------------------------------------------------------------------------------------------


def test_deep_bsde_comes_near_a_reference():
    """Allen-Cahn in ten dimensions, within 2 per cent from a start that is 26 % off or more. Time over: one block."""
    case = uc.zoo.allen_cahn(dim=10)
    settings = deep_bsde.Settings(steps=10, rates=(1e-2, 1e-3), boundaries=(200,), iterations=300, start=(0.4, 0.5))
    found = deep_bsde.solve(case.problem, case.at, settings.iterations, settings=settings)
    assert found.done == 300
    assert abs(found.value / case.reference - 1) < 0.02
    short = deep_bsde.solve(case.problem, case.at, settings.iterations, settings=settings, deadline=lambda: True)
    assert short.done == deep_bsde.BLOCK
    assert abs(short.value - case.reference) > abs(found.value - case.reference)


def test_deep_bsde_finds_a_control():
    """f = -|grad u|^2: what f does is found to a third of it, time steps and all."""
    case = uc.zoo.hjb(dim=3)
    settings = deep_bsde.Settings(steps=20, rates=(2e-2, 3e-3), boundaries=(266,), iterations=400, start=(0.6, 0.7))
    found = deep_bsde.solve(case.problem, case.at, settings.iterations, settings=settings)
    free = linearised_mc.solve(case.problem, case.at, 65_536).value
    assert abs(found.value - case.reference) < abs(free - case.reference) / 3


def test_the_rate_falls_at_its_boundaries():
    """Adam on a constant slope moves by its rate a step."""
    optimiser = deep_bsde._optimiser(deep_bsde.Settings(1, (1e-1, 1e-2, 1e-3), (2, 4), 6, (0.0, 0.0)))
    place, moves = jnp.zeros(()), []
    state = optimiser.init(place)
    for _ in range(6):
        move, state = optimiser.update(jnp.ones(()), state)
        moves.append(-float(move))
    assert np.allclose(moves, [1e-1, 1e-1, 1e-2, 1e-2, 1e-3, 1e-3], rtol=1e-3)


# --- the process that the study starts ----------------------------------------------------------------------------


def test_every_case_has_settings():
    assert set(deep_bsde.PUBLISHED) == set(uc.zoo.equations)


def test_the_command_prints_one_object_and_keeps_to_its_cap():
    command = [sys.executable, "-m", "benchmarks.baselines", "linearised-mc", "hjb", "--budget", "1000000000", "--cap",
               "0.1"]  # fmt: skip
    root = Path(__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    found = json.loads(done.stdout)
    assert found["done"] == linearised_mc.CHUNK
    assert abs(found["value"] - 4.6) < 0.1
