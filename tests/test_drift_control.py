"""Theorem 8b: control that shifts the noise, against Riccati's recursion and dynamic programming on grids.

Seeds are fixed. Where an interval at confidence c is compared with a known value, a right program fails with
probability 1 - c at most for a new seed; 0.999 is used unless said.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from _scalar_control import grid_value, riccati_by_hand, scalar

import uncurse as uc
from uncurse import Guarantee
from uncurse.analysis._shift import find_shift
from uncurse.certificates._controlled import Rollouts
from uncurse.certificates.drift_control import FEW_NOISES, DriftControl, Shifted, averaged, drawn
from uncurse.methods.policy import visit
from uncurse.statistics import Moments, Purpose, draw_bits, half_width_factor, stream
from uncurse.surrogates import AbstractPolicy, Feedback, Quadratic

Z = half_width_factor(0.999)
ONE = np.ones((1, 1))


def two_wells(x):
    """Least at -1 and 1, between them a hill of height 2."""
    return 2 * (x[0] ** 2 - 1) ** 2 / (1 + x[0] ** 2)


def bounds(problem: uc.ControlProblem, policy: AbstractPolicy, x: np.ndarray, count: int = 16384, seed: int = 0):
    """The interval of a policy from fresh paths, theorem 8b alone; and the scatter of the exponent."""
    shift = find_shift(problem, x)
    assert shift is not None
    shifted = Shifted.of(problem, shift.matrix, np.asarray(shift.modulus.value))
    noises = shift.matrix.shape[1]
    bits = draw_bits(stream(seed, Purpose.pilot, 1), (), (problem.steps, 64, noises))
    starts = jnp.asarray(np.repeat(x[:1], 64, axis=0), jnp.float32)
    shifted = averaged(problem, policy, shifted, np.asarray(visit(problem, policy, starts, bits)[0]))
    rolls = Rollouts(problem, policy, Quadratic.skeleton(problem, {}), x, 1024)
    pilot = list(drawn(rolls, shifted, stream(seed, Purpose.pilot), 4096))
    found = DriftControl.tuned(shifted.rate, *(np.concatenate([r[i] for r in pilot], axis=1) for i in range(3)))
    assert found is not None
    final = [found.columns(*r) for r in drawn(rolls, shifted, stream(seed, Purpose.certificate), count)]
    return found.bounds(Moments.of(np.concatenate(final, axis=1)), Z, -np.inf, 0.0, True), found


def feedback(problem: uc.ControlProblem, gain: float, push: float) -> Feedback:
    n, d, m = problem.steps, problem.dim, problem.control_dim
    gains = np.broadcast_to(-gain * np.eye(m, d), (n, m, d))
    return Feedback.of(problem, np.zeros((n, d)), np.full((n, m), push), gains)


# --- what traces prove


@pytest.mark.parametrize(("changes", "matrix"), [
    ({}, 2.0),
    ({"drift": lambda t, x, a: jnp.sin(x) - 3 * a, "volatility": np.array([0.5])}, -6.0),
    ({"drift": lambda t, x, a: a, "volatility": lambda t, x: 0.5 * jnp.ones(1)}, 2.0),
])
def test_a_shift_of_the_noise_is_found(changes, matrix):
    shift = find_shift(scalar(**changes), ONE)
    assert shift is not None
    np.testing.assert_allclose(shift.matrix, [[[matrix]]], rtol=1e-6)
    np.testing.assert_allclose(shift.modulus.value, [2.0], rtol=1e-4)
    assert shift.modulus.origin == "proved" and shift.priced


@pytest.mark.parametrize("changes", [
    {"drift": lambda t, x, a: jnp.sin(a)},
    {"drift": lambda t, x, a: x * a},
    {"volatility": 0.0},
    {"volatility": lambda t, x: 0.5 + x**2},
    {"volatility": lambda t, x, a: 0.5 + a**2},
    {"drift": lambda t, x, a: a + jnp.floor(a)},
    {"running_cost": lambda t, x, a: jnp.cos(a[0])},
    {"running_cost": lambda t, x, a: a[0] ** 2 - jnp.abs(a[0])},
], ids=["nonlinear", "bilinear", "silent", "noise of x", "noise of a", "steps", "not convex", "a kink that bends down"])
def test_what_is_no_shift_is_refused(changes):
    assert find_shift(scalar(**changes), ONE) is None


def test_controls_may_reach_only_states_with_noise_of_their_own():
    """Position and velocity: the force and the noise act on the velocity."""
    stated = {"dim": 2, "control_dim": 1, "drift": lambda t, x, a: jnp.stack([x[1], a[0]])}
    forced = find_shift(scalar(**stated, volatility=np.array([0.0, 0.5])), np.ones((1, 2)))
    assert forced is not None
    np.testing.assert_allclose(forced.matrix[0], [[0.0], [2.0]], rtol=1e-6)
    shared = find_shift(scalar(**stated, volatility=np.array([[0.0], [0.25]])), np.ones((1, 2)))
    assert shared is not None
    np.testing.assert_allclose(shared.matrix[0], [[4.0]], rtol=1e-5)
    assert find_shift(scalar(**stated, volatility=np.array([0.5, 0.0])), np.ones((1, 2))) is None


def test_a_shift_may_depend_on_time():
    shift = find_shift(scalar(drift=lambda t, x, a: (1 + t) * a), ONE)
    assert shift is not None
    np.testing.assert_allclose(shift.matrix[:, 0, 0], 2 * (1 + 0.1 * np.arange(10)), rtol=1e-5)


def test_a_control_that_costs_nothing_is_not_priced():
    shift = find_shift(scalar(running_cost=lambda t, x, a: x[0] ** 2, control_bounds=(-1.0, 1.0)), ONE)
    assert shift is not None and not shift.priced


# --- the theorem


def test_the_best_linear_feedback_leaves_almost_no_gap():
    """The second derivative of the value is taken off too: without it the gap would be 1.2 %."""
    problem = scalar()
    h, P, gains = problem.step, 1.0, []
    for _ in range(problem.steps):
        gains.append(P * h / (h + P * h**2))
        P = h + P - (P * h) ** 2 / (h + P * h**2)
    gains = -np.asarray(gains[::-1])[:, None, None]
    best = Feedback.of(problem, np.zeros((10, 1)), np.zeros((10, 1)), gains)
    found, _ = bounds(problem, best, ONE)
    assert found.low[0] <= riccati_by_hand(problem, 1.0) <= found.high[0]
    assert found.high[0] - found.low[0] < 2e-3 * found.value[0]


@pytest.mark.parametrize(("gain", "push"), [(0.0, 0.0), (1.5, 0.0), (0.5, 0.2), (-0.1, 0.0)])
@pytest.mark.parametrize("box", [None, (-0.8, 0.4)])
def test_a_bad_policy_never_lifts_the_lower_end_above_the_value(gain, push, box):
    problem = scalar(volatility=1.0, control_bounds=box)
    value = riccati_by_hand(scalar(), 0.0) * 4 if box is None else grid_value(problem, np.linspace(*box, 49), 0.0)
    found, _ = bounds(problem, feedback(problem, gain, push), np.zeros((1, 1)))
    assert found.low[0] <= value <= found.high[0]


def test_a_box_bounds_what_entropy_alone_does_not():
    """With kappa' above kappa the exponent scatters less, and what that costs is bounded by the box."""
    problem = scalar(running_cost=lambda t, x, a: x[0] ** 2 + 0.02 * a[0] ** 2, control_bounds=(-0.3, 0.3))
    value = grid_value(problem, np.linspace(-0.3, 0.3, 49), 0.0)
    found, certificate = bounds(problem, feedback(problem, 40.0, 0.0), np.zeros((1, 1)))
    assert certificate.slope > 2 * certificate.rate
    assert found.low[0] <= value <= found.high[0]
    assert found.low[0] > 0.7 * value


def test_many_noises_share_one_curvature():
    d = 2 * FEW_NOISES
    problem = uc.ControlProblem(
        dim=d, control_dim=d, drift=lambda t, x, a: a, volatility=0.5, horizon=1.0, steps=10,
        running_cost=lambda t, x, a: jnp.sum(x**2) + jnp.sum(a**2), terminal_cost=lambda x: jnp.sum(x**2),
    )
    alone = scalar()
    h, P, gains = alone.step, 1.0, []
    for _ in range(alone.steps):
        gains.append(P * h / (h + P * h**2))
        P = h + P - (P * h) ** 2 / (h + P * h**2)
    gains = -np.asarray(gains[::-1])[:, None, None] * np.eye(d)
    best = Feedback.of(problem, np.zeros((10, d)), np.zeros((10, d)), gains)
    found, _ = bounds(problem, best, np.ones((1, d)), 4096)
    assert found.low[0] <= d * riccati_by_hand(alone, 1.0) <= found.high[0]
    assert found.high[0] - found.low[0] < 3e-3 * found.value[0]


# --- whole calls


@pytest.mark.parametrize("box", [None, (-1.0, 1.0)])
def test_two_wells_against_dynamic_programming(box):
    """A policy that is only locally best, here feedback towards the nearer well, is left for the better one."""
    problem = scalar(
        drift=lambda t, x, a: a + jnp.sin(x), running_cost=lambda t, x, a: a[0] ** 2, terminal_cost=two_wells,
        control_bounds=box,
    )
    value = grid_value(problem, np.linspace(*(box or (-6.0, 6.0)), 161 if box else 481), 0.3)
    solution = uc.solve(problem, np.array([0.3]), rtol=5e-2, confidence=0.999, progress=False)
    assert solution.guarantee is Guarantee.two_sided
    assert solution.low <= value <= solution.high
    assert solution.stats["certificate"] == "DriftControl"
    assert "shift the noise" in solution.assumptions[0]


def test_many_points_with_costs_that_are_not_convex():
    problem = scalar(running_cost=lambda t, x, a: a[0] ** 2, terminal_cost=lambda x: jnp.cos(2 * x[0]), steps=5)
    points = np.array([[-1.0], [0.0], [1.0]])
    solution = uc.solve(problem, points, rtol=0.0, atol=0.1, confidence=0.999, progress=False, throw=False)
    assert solution.guarantee is Guarantee.two_sided
    controls = np.linspace(-4.0, 4.0, 241)
    values = [grid_value(problem, controls, float(x), cells=601) for x in points[:, 0]]
    assert (np.asarray(solution.low) <= values).all() and (values <= np.asarray(solution.high)).all()
