"""Claims that must not be made: equations where an assumption of a theorem fails quietly.

Each interval may be infinite, or be called an estimate and hold the truth; it may not be short, proved and wrong.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _problems import POINT, Formula, bent, bounds_of, made, paths_of, sampler_of, wave

import uncurse as uc
from uncurse.certificates import fallback


def quick(problem, at, **more):
    more = {"rtol": 1e-2, "confidence": 1 - 1e-6, "method": "smoothing", "progress": False, "throw": False, **more}
    return uc.solve(problem, at, **more)


NOISELESS = uc.Brownian(2, [1.0, 0.0])
OPAQUE = jax.custom_jvp(lambda u: u)
OPAQUE.defjvp(lambda primals, tangents: (primals[0], 0.0 * tangents[0]))

QUIET = {       # problem, point, truth
    # a coordinate moved by f alone, at a speed that varies: E (int_0^1 W dt)^2
    "drift without noise": (
        {"process": NOISELESS, "source": lambda t, x, u, grad: x[0] * grad[1], "terminal": lambda x: x[1] ** 2},
        [0.0, 0.0], 1 / 3),
    "the same, as a matrix": (
        {"process": uc.Brownian(2, [[1.0], [0.0]]), "source": lambda t, x, u, grad: x[0] * grad[1],
         "terminal": lambda x: x[1] ** 2}, [0.0, 0.0], 1 / 3),
    # f is no function of z = sigma^T grad: u(0, x) = |x|^2 / (2 (1 + T)) + log(1 + T) / 2
    "curvature without noise": (
        {"process": NOISELESS, "source": lambda t, x, u, grad: -(grad @ grad) / 2, "terminal": lambda x: x @ x / 2},
        [0.0, 1.0], np.log(2) / 2 + 1 / 4),
    # dX = X dW + dt from f = grad, at X = 0: the chart log(x'/x) knows no drift there
    "a drift at the edge of the chart": (
        {"process": uc.GeometricBrownian(1, 0.0, 0.2), "source": lambda t, x, u, grad: grad[0],
         "terminal": lambda x: x[0]}, [0.0], 1.0),
    # u' + u = 0, with derivatives of f that are not its slopes
    "a slope that is stopped": (
        {"process": uc.Brownian(1, 1.0), "source": lambda t, x, u, grad: jax.lax.stop_gradient(u),
         "terminal": lambda x: 1 + 0 * x[0]}, [0.0], np.e),
    "a slope that is made up": (
        {"process": uc.Brownian(1, 1.0), "source": lambda t, x, u, grad: OPAQUE(u),
         "terminal": lambda x: 1 + 0 * x[0]}, [0.0], np.e),
    "a gradient that is stopped": (
        {"process": uc.Brownian(1, 1.0), "source": lambda t, x, u, grad: -jax.lax.stop_gradient(grad[0]) ** 2,
         "terminal": lambda x: x[0]}, [0.0], -1.0),
}


@pytest.mark.parametrize("name", QUIET)
def test_no_proof_rests_on_an_assumption_that_fails(name):
    arguments, at, truth = QUIET[name]
    try:
        solution = quick(uc.ParabolicPDE(horizon=1.0, **arguments), at)
    except ValueError as error:
        assert "source" in str(error) or "at" in str(error)     # refused, with the argument named
        return
    assert solution.low <= truth <= solution.high, (solution.low, solution.high, solution.guarantee)


def test_rounding_is_part_of_the_interval():
    """float32 carries 1e5 to 0.004: no interval around it may be shorter and miss."""
    problem = uc.ParabolicPDE(process=uc.Brownian(1, 1e-3), terminal=lambda x: 1e5 + x[0], horizon=1.0)
    solution = quick(problem, [0.3], rtol=1e-9, atol=1e-4)
    assert solution.low <= 1e5 + 0.3 <= solution.high, (solution.low, solution.high)


def test_a_declared_curvature_of_0_is_no_division_by_0():
    problem = uc.ParabolicPDE(
        process=uc.Brownian(1, 1.0), source=lambda t, x, u, grad: jnp.abs(grad[0]), terminal=lambda x: x[0],
        horizon=0.5, bounds=uc.SourceBounds(gradient_curvature=0.0),
    )
    solution = quick(problem, [0.0])
    assert np.isfinite(solution.value)


@pytest.mark.parametrize("n", [30, 1000, 5000])
def test_the_estimate_knows_its_remainder_at_every_point(n):
    """However many points share the paths: none may have a remainder of 0 for want of paths."""
    problem = made(wave, lambda u, grad: (u - 0.5) * jnp.sum(grad) + 0.3 * grad[0] ** 2, uc.Brownian(3, 0.6))
    at = POINT + 0.7 * np.random.default_rng(0).normal(size=(n, 3))
    truth = np.asarray(jax.vmap(wave, (None, 0))(0.0, jnp.asarray(at)), dtype=np.float64)
    sampler, surrogate, y0 = sampler_of(problem, at, 10), Formula(bent, 0.1), truth + 0.04
    theorem = fallback(problem, sampler, surrogate, y0, jax.random.key(3))
    chunk, _ = paths_of(sampler, surrogate, y0, 64)
    remainder = bounds_of(theorem, chunk, y0).budget["linearisation"]
    assert np.all(remainder > 0), np.mean(remainder == 0)
    assert np.max(remainder) < 30 * np.min(remainder), np.quantile(remainder, [0, 0.1, 0.5, 1])
