"""Is Riccati's recursion the least cost, and does Newton's method along a path find what is known?"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import uncurse as uc
from uncurse.methods._box import nearest_convex
from uncurse.methods.riccati import linearised, solve_lq


def quadratic(d: int, m: int, steps: int, seed: int = 0, **changes) -> uc.ControlProblem:
    """Linear-quadratic with every term there is: cross, linear and constant ones, dependent on time."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((d, d)) / np.sqrt(d) - 0.5 * np.eye(d)
    B = rng.standard_normal((d, m)) / np.sqrt(d)
    sigma = 0.3 * rng.standard_normal((d, 2))
    parts = {
        "drift": lambda t, x, a: A @ x + B @ a + jnp.sin(t),
        "volatility": lambda t, x: sigma * (1 + t),
        "running_cost": lambda t, x, a: 0.5 * x @ x + 0.5 * (1 + t) * a @ a + 0.2 * a[0] * x[1] + 0.3 * x[0] + a[1] + t,
        "terminal_cost": lambda x: x @ x + x[1] - 1.0,
    }
    return uc.ControlProblem(dim=d, control_dim=m, horizon=1.0, steps=steps, **{**parts, **changes})


def expected_cost(problem: uc.ControlProblem, K: np.ndarray, k: np.ndarray, x: np.ndarray) -> float:
    """Of a = -K x - k, exactly: the mean path plus what the covariance adds, by sigma points of a quadratic cost."""
    n, h, d = problem.steps, problem.step, problem.dim
    mean, covariance, total = x.astype(float), np.zeros((d, d)), 0.0

    def average(f, mean, covariance):
        root = np.linalg.cholesky(d * (covariance + 1e-14 * np.eye(d)))
        return np.mean([float(f(mean + s * column)) for column in root.T for s in (-1.0, 1.0)])

    for i in range(n):
        t, gain, shift = i * h, K[i], k[i]
        total += h * average(lambda z, t=t, K=gain, k=shift: problem.running_cost(t, z, -K @ z - k), mean, covariance)
        move = lambda z, t=t, K=gain, k=shift: z + h * np.asarray(problem.drift(t, z, -K @ z - k))      # noqa: E731
        slope = np.stack([move(mean + e) - move(mean) for e in np.eye(d)], axis=1)
        sigma = np.asarray(problem.sigma(t, mean, shift))
        mean, covariance = move(mean), slope @ covariance @ slope.T + h * sigma @ sigma.T
    return total + average(problem.terminal_cost, mean, covariance)


def test_value_is_the_cost_of_its_feedback_and_other_feedback_costs_more():
    problem, x = quadratic(3, 2, 8), np.array([1.0, -0.5, 0.3])
    exact = solve_lq(problem)
    assert expected_cost(problem, exact.K, exact.k, x) == pytest.approx(exact.value(x), rel=1e-4)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        K, k = exact.K + 0.2 * rng.standard_normal(exact.K.shape), exact.k + 0.2 * rng.standard_normal(exact.k.shape)
        assert expected_cost(problem, K, k, x) > exact.value(x) + 1e-3


def test_scalar_problem_by_hand():
    """x' = x + a, cost a^2 + x_1^2 over one step: V = x^2 / 2, a = -x / 2."""
    problem = uc.ControlProblem(
        dim=1, control_dim=1, drift=lambda t, x, a: a, volatility=0.0, running_cost=lambda t, x, a: a[0] ** 2,
        terminal_cost=lambda x: x[0] ** 2, horizon=1.0, steps=1,
    )  # fmt: skip
    exact = solve_lq(problem)
    assert exact.P[0, 0, 0] == pytest.approx(1.0, rel=1e-6) and exact.K[0, 0, 0] == pytest.approx(0.5, rel=1e-6)
    assert exact.value(np.array([[1.0], [2.0]])).tolist() == pytest.approx([0.5, 2.0])


def test_hundred_dimensions_far_from_the_end_are_the_stationary_solution():
    """P of scipy's algebraic Riccati equation, by another algorithm."""
    rng, d, h = np.random.default_rng(0), 100, 0.05
    A, B = rng.standard_normal((d, d)) / np.sqrt(d) - 1.5 * np.eye(d), rng.standard_normal((d, 20)) / np.sqrt(d)
    problem = uc.ControlProblem(
        dim=d, control_dim=20, drift=lambda t, x, a: A @ x + B @ a, volatility=0.0, horizon=200 * h, steps=200,
        running_cost=lambda t, x, a: x @ x + a @ a, terminal_cost=lambda x: x @ x,
    )  # fmt: skip
    known = scipy.linalg.solve_discrete_are(np.eye(d) + h * A, h * B, 2 * h * np.eye(d), 2 * h * np.eye(20))
    np.testing.assert_allclose(solve_lq(problem).P[0], known, atol=1e-4 * np.abs(known).max())


def test_cost_unbounded_below_is_refused():
    with pytest.raises(ValueError, match="unbounded below: at step 7"):
        solve_lq(quadratic(3, 2, 8, running_cost=lambda t, x, a: -a @ a))
    with pytest.raises(ValueError, match="unbounded below"):
        solve_lq(quadratic(3, 2, 8, running_cost=lambda t, x, a: 0.0 * a @ a + a[1], terminal_cost=lambda x: x[0]))
    idle = quadratic(3, 2, 8, running_cost=lambda t, x, a: x @ x, terminal_cost=lambda x: x @ x)
    assert np.isfinite(solve_lq(idle).K).all()      # the last control changes nothing that is paid for: no harm


def test_path_of_a_linear_quadratic_problem_is_riccatis():
    problem, x = quadratic(5, 2, 12, volatility=0.0), np.ones(5)
    exact, nominal = solve_lq(problem), linearised(problem, x)
    assert nominal.cost == pytest.approx(exact.value(x), rel=2e-6)
    np.testing.assert_allclose(nominal.gains, -exact.K, atol=2e-6)
    np.testing.assert_allclose(nominal.P, exact.P, atol=2e-6)
    np.testing.assert_allclose(nominal.p, np.einsum("kij,kj->ki", exact.P, nominal.states) + exact.p, atol=1e-5)


def pendulum(**changes) -> uc.ControlProblem:
    parts = {
        "drift": lambda t, x, a: jnp.stack([x[1], 9.81 * jnp.sin(x[0]) + a[0]]),
        "running_cost": lambda t, x, a: 0.01 * a[0] ** 2 + 0.1 * (1 - jnp.cos(x[0])),
        "terminal_cost": lambda x: 20 * (1 - jnp.cos(x[0])) + x[1] ** 2,
        "control_bounds": (-4.0, 4.0),
    }
    return uc.ControlProblem(dim=2, control_dim=1, volatility=0.05, horizon=4.0, steps=100, **{**parts, **changes})


def test_pendulum_swings_up_within_its_box_from_a_point_of_symmetry():
    """Hanging still is stationary; the torque is below gravity's, so that it must swing."""
    nominal = linearised(pendulum(), np.array([np.pi, 0.0]))
    assert np.cos(nominal.states[-1, 0]) > 0.999 and abs(nominal.states[-1, 1]) < 0.1
    assert nominal.cost < 1.0 and np.abs(nominal.controls).max() <= 4.0
    held = np.abs(nominal.controls[:, 0]) == 4.0
    assert held.any() and (nominal.gains[held] == 0.0).all()
    assert nominal.togo[0] == pytest.approx(nominal.cost) and nominal.togo[-1] < 0.1


def test_gradient_vanishes_where_controls_are_free():
    """Along a least path, dl/da + p.dx'/da = 0, by differences of the cost itself."""
    problem = pendulum(control_bounds=None)
    nominal = linearised(problem, np.array([np.pi, 0.1]))

    def cost(controls: np.ndarray) -> float:
        x, total = np.array([np.pi, 0.1]), 0.0
        for a in controls:
            total += problem.step * (0.01 * a[0] ** 2 + 0.1 * (1 - np.cos(x[0])))
            x = x + problem.step * np.array([x[1], 9.81 * np.sin(x[0]) + a[0]])
        return total + 20 * (1 - np.cos(x[0])) + x[1] ** 2

    def slope(controls: np.ndarray, i: int) -> float:
        bump = np.zeros_like(controls)
        bump[i] = 1e-4
        return (cost(controls + bump) - cost(controls - bump)) / 2e-4

    assert cost(nominal.controls) == pytest.approx(nominal.cost, rel=1e-5)
    start = max(abs(slope(np.zeros_like(nominal.controls), i)) for i in (0, 37, 99))
    assert max(abs(slope(nominal.controls, i)) for i in (0, 37, 99)) < 2e-2 * start


def test_failure_is_a_value():
    """From where every control is too weak, the state explodes: no path, no NaN."""
    hopeless = uc.ControlProblem(
        dim=1, control_dim=1, drift=lambda t, x, a: 100 * x**3 + a, volatility=0.0,
        running_cost=lambda t, x, a: a[0] ** 2, terminal_cost=lambda x: x[0] ** 2, horizon=10.0, steps=100,
    )  # fmt: skip
    nominal = linearised(hopeless, np.array([5.0]))
    assert nominal.cost == np.inf and not nominal.gains.any()
    assert all(np.isfinite(a).all() for a in (nominal.states, nominal.controls, nominal.P, nominal.p))


def test_functions_written_for_single_precision_still_work():
    """A loop whose carry is float32 could not be traced in float64."""

    def running(t, x, a):
        return jax.lax.fori_loop(0, 2, lambda i, s: s + a[i] ** 2, jnp.float32(0.0)) + 0.5 * x @ x

    fixed = quadratic(3, 2, 4, running_cost=running)
    same = quadratic(3, 2, 4, running_cost=lambda t, x, a: a @ a + 0.5 * x @ x)
    assert solve_lq(fixed).value(np.ones(3)) == pytest.approx(solve_lq(same).value(np.ones(3)), rel=1e-4)


def test_nearest_convex_matrices():
    """Coordinates 1 and 3 are coupled, with eigenvalues 3 and -1; the others are diagonal, one of them negative."""
    matrices = np.zeros((2, 5, 5))
    matrices[:, range(5), range(5)] = [2.0, 1.0, -4.0, 1.0, 0.0]
    matrices[0, 1, 3] = matrices[0, 3, 1] = 2.0
    found = nearest_convex(matrices)
    np.testing.assert_allclose(found[0][np.ix_([1, 3], [1, 3])], np.full((2, 2), 1.5), atol=1e-12)
    np.testing.assert_allclose(found[1], np.diag([2.0, 1.0, 0.0, 1.0, 0.0]), atol=1e-12)
    np.testing.assert_array_equal(np.diag(found[0])[[0, 2, 4]], [2.0, 0.0, 0.0])
