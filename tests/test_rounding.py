"""Far from the origin float32 paths move on a coarse grid: the interval must hold the truth all the same, and near it
the allowance must not be felt."""

import jax.numpy as jnp
import numpy as np
import pytest

import uncurse as uc
from uncurse._rounding import Blur
from uncurse.problems import Problem
from uncurse.statistics import Purpose, stream

FAR = 1e6               # where float32 numbers are 1/16 apart
SEEDS = 3               # at 99 % each: an alarm that is false in 3 % of worlds; seeds are fixed
CALL = 1 / np.sqrt(2 * np.pi)


def solved(problem: Problem, x0: float, seed: int, rtol: float = 2e-3) -> uc.Solution:
    return uc.solve(problem, at=np.array([x0]), rtol=rtol, seed=seed, progress=False, throw=False, time_limit=20)


def blur(process, point: list[float], steps: int = 20) -> Blur:
    return Blur.of_process(process, 1.0, np.asarray([point]), steps, stream(0, Purpose.baseline))


@pytest.mark.parametrize(
    ("x0", "sigma", "g", "truth"),
    [
        (1e4, 0.01, lambda x: jnp.sum((x - 1e4) ** 2), 1e-4),
        (FAR, 1.0, lambda x: jnp.sum((x - FAR) ** 2), 1.0),
        (FAR, 1.0, lambda x: jnp.maximum(x[0] - FAR, 0.0), CALL),
    ],
)
def test_far_from_the_origin_the_interval_holds_the_truth(x0, sigma, g, truth):
    problem = uc.ParabolicPDE(process=uc.Brownian(1, sigma), terminal=g, horizon=1.0)
    for seed in range(SEEDS):
        found = solved(problem, x0, seed)
        assert found.low <= truth <= found.high
        assert found.half_width < 0.05 * truth                      # still an answer
        assert found.budget["rounding"] > 1e-3 * truth
        if found.result is uc.Result.bias_limited:
            assert "what limits: rounding" in str(found)
            assert found.guarantee is uc.Guarantee.estimate         # the allowance is of first order


def test_a_small_drift_far_away_is_not_rounded_away():
    problem = uc.ParabolicPDE(
        process=uc.Brownian(1, 1.0), source=lambda t, x, u, grad: 0.1 * grad[0], terminal=lambda x: x[0] - FAR,
        horizon=1.0,
    )  # fmt: skip
    for seed in range(SEEDS):
        found = solved(problem, FAR, seed)
        assert found.low <= 0.1 <= found.high
        assert found.half_width < 0.01


def test_a_starting_point_between_two_numbers_is_allowed_for():
    problem = uc.ParabolicPDE(process=uc.Brownian(1, 0.1), terminal=lambda x: x[0] - FAR, horizon=1.0)
    found = uc.solve(problem, np.array([FAR + 0.02]), rtol=0.0, atol=0.05, progress=False, throw=False)
    assert found.low <= 0.02 <= found.high and 0.02 < found.half_width < 0.1


def test_a_put_far_away():
    dates = np.linspace(0.1, 1.0, 10)
    problem = uc.StoppingProblem(
        process=uc.Brownian(1, 1.0), payoff=lambda t, x: jnp.maximum(FAR - x[0], 0.0), dates=dates, discount=1.0
    )
    truth = 0.234152        # by quadrature of the dynamic programme, six digits
    for seed in range(SEEDS):
        found = solved(problem, FAR, seed, rtol=5e-3)
        assert found.low <= truth <= found.high
        assert 1e-3 < found.budget["rounding"] < 5e-3


def test_control_far_away():
    def problem(x0: float) -> uc.ControlProblem:
        return uc.ControlProblem(
            dim=1, control_dim=1, horizon=1.0, steps=10, volatility=1.0, control_bounds=(-1.0, 1.0),
            drift=lambda t, x, a: a, running_cost=lambda t, x, a: 0.5 * a[0] ** 2,
            terminal_cost=lambda x: (x[0] - x0) ** 2,
        )  # fmt: skip

    near, far = solved(problem(0.0), 0.0, 0, rtol=1e-2), solved(problem(FAR), FAR, 0, rtol=1e-2)
    assert far.low <= near.low and near.high <= far.high
    assert near.budget["rounding"] < 1e-5 * near.value < 1e-3 * far.budget["rounding"]


def test_the_allowance_is_met_by_a_square():
    # g = |X - x|^2 attains the bound: N ulp^2 / 12 more than the truth, and the share times sd(g) is hardly more.
    share = blur(uc.Brownian(1, 1.0), [FAR]).share[0]
    exact = 20 * 0.0625**2 / 12 / np.sqrt(2)
    assert 1.0 < share / exact < 1.2


@pytest.mark.parametrize(
    ("process", "point"),
    [
        (uc.Brownian(100, 1.0), [1.0] * 100),
        (uc.Brownian(100_000, np.sqrt(2.0)), [0.0] * 100_000),
        (uc.GeometricBrownian(100, 0.05, 0.2), [100.0] * 100),
        (uc.OrnsteinUhlenbeck(10, 1.0, 0.5), [1.0] * 10),
        (uc.Diffusion(2, lambda t, x: -x, lambda t, x: jnp.eye(2)), [1.0, -1.0]),
    ],
)
def test_near_the_origin_it_is_not_felt(process, point):
    found = blur(process, point)
    assert 0 < found.share[0] < 1e-9
    assert not found.still.any()


def test_coordinates_that_do_not_scatter_are_moved_instead():
    found = blur(uc.Brownian(2, np.array([1.0, 0.0])), [1.0, 1.0])
    assert found.still[0, 0] == 0 and found.still[0, 1] == pytest.approx(10.5 * 2**-23)
    # A grid so coarse that no step leaves its point: what moves is the whole that steps could have lost.
    frozen = blur(uc.Brownian(1, 1.0), [1e9])
    assert frozen.share[0] == 0 and frozen.still[0, 0] == pytest.approx(10.5 * 64)
    error = frozen.error(np.zeros(1), np.array([[1e9]]), lambda x: (x - 1e9) ** 2)
    assert error[0] == pytest.approx((10.5 * 64) ** 2)
