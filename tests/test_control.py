"""Stochastic control: what is proved of a problem, and intervals against formulas and dynamic programming on grids.

Seeds are fixed. Where an interval at confidence c is compared with a known value, a right program fails with
probability 1 - c at most for a new seed; 0.999 is used, and a handful of comparisons are made.
"""

import dataclasses
import math
from statistics import NormalDist

import jax.numpy as jnp
import numpy as np
import pytest
from _scalar_control import grid_value, riccati_by_hand, scalar

import uncurse as uc
from uncurse import Guarantee, Result
from uncurse._continuous import Limit
from uncurse.analysis._control import analyse_control
from uncurse.analysis._elements import elements_in
from uncurse.certificates._controlled import Rollouts
from uncurse.certificates.branched import Branched, chosen, interval
from uncurse.statistics import Moments, Purpose, shared_factors, stream
from uncurse.surrogates import Feedback, Quadratic

NO, YES = np.asarray(False), np.ones(1, bool)


# --- what traces prove


def test_entries_are_told_apart():
    chosen_entries = [NO, np.array([True, True, False]), np.ones(2, bool)]
    found = elements_in(lambda t, x, a: jnp.concatenate([a, -2 * x[2:]]), chosen_entries)
    assert found.independent.tolist() == [False, False, True]
    assert found.affine.all()
    # A matrix with known zeros keeps what it does not mix apart.
    matrix = jnp.asarray([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    assert elements_in(lambda t, x, a: matrix @ x, chosen_entries).independent.tolist() == [False, True]


@pytest.mark.parametrize(("cost", "convex"), [
    (lambda t, x, a: jnp.sum(x[:2] ** 2) + jnp.sum(jnp.abs(a)), True),
    (lambda t, x, a: x[2] * a[0] + jnp.sum(jnp.maximum(x[:2] - 1, 0.0) ** 2), True),        # a price times a control
    (lambda t, x, a: jnp.exp(x[2]) * a[0] ** 2, True),
    (lambda t, x, a: a @ jnp.asarray([[2.0, 1.0], [1.0, 2.0]]) @ a, True),
    (lambda t, x, a: a @ jnp.asarray([[1.0, 2.0], [2.0, 1.0]]) @ a, False),                 # a saddle
    (lambda t, x, a: a @ (jnp.asarray([[2.0, 1.0], [1.0, 2.0]]) @ a), True),
    (lambda t, x, a: x[2] * a[0] ** 2, False),                                              # the price may be negative
    (lambda t, x, a: x[0] * a[0], False),
    (lambda t, x, a: jnp.sum(jnp.maximum(x[:2], -1.0) ** 2), False),       # a square of what changes sign
    (lambda t, x, a: -jnp.sum(a**2), False),
    (lambda t, x, a: jnp.sum(jnp.sin(a)), False),
])
def test_convexity_is_proved_only_where_it_holds(cost, convex):
    found = elements_in(cost, [NO, np.array([True, True, False]), np.ones(2, bool)])
    assert bool(found.convex) is convex


def two_kinds(cost, **changes) -> uc.ControlProblem:
    """x_0 is steered, x_1 follows x_0, x_2 reverts to its mean whatever is done."""
    stated = {
        "dim": 3, "control_dim": 1, "volatility": 0.3, "horizon": 1.0, "steps": 5,
        "drift": lambda t, x, a: jnp.stack([a[0], x[0], 1.0 - x[2]]), "running_cost": cost,
        "terminal_cost": lambda x: jnp.sum(x[:2] ** 2) * jnp.exp(x[2]),
    }
    return uc.ControlProblem(**{**stated, **changes})


def test_exogenous_states_are_found_by_closure():
    found = analyse_control(two_kinds(lambda t, x, a: a[0] ** 2 + x[2] * a[0]), np.zeros((1, 3)))
    assert found.controlled.tolist() == [True, True, False]
    assert found.affine and found.convex is not None and found.convex.origin == "proved"
    assert not found.quadratic
    np.testing.assert_allclose(found.modulus.value, 2.0, rtol=1e-4)
    noise = lambda t, x, a: jnp.stack([0.1, 0.1, a[0]])      # noqa: E731
    assert analyse_control(two_kinds(lambda t, x, a: a[0] ** 2, volatility=noise), np.zeros((1, 3))).controlled.all()


def test_affine_dynamics_may_be_nonlinear_in_what_controls_do_not_reach():
    drift = lambda t, x, a: jnp.stack([jnp.sin(x[2]) * a[0], x[0] * x[2] ** 2, -(x[2] ** 3)])      # noqa: E731
    assert analyse_control(two_kinds(lambda t, x, a: a[0] ** 2, drift=drift), np.zeros((1, 3))).affine
    bent = lambda t, x, a: jnp.stack([a[0], jnp.sin(x[0]), x[2]])      # noqa: E731
    found = analyse_control(two_kinds(lambda t, x, a: a[0] ** 2, drift=bent), np.zeros((1, 3)))
    assert not found.affine and not found.provable


def test_what_is_not_proved_is_tested_and_said_so():
    soft = lambda t, x, a: jnp.sqrt(1 + x[0] ** 2) + a[0] ** 2      # noqa: E731  convex, but no rule says so
    found = analyse_control(two_kinds(soft), np.zeros((1, 3)))
    assert found.convex is not None and found.convex.origin == "tested"
    declared = two_kinds(soft, bounds=uc.CostBounds(convex=True))
    assert analyse_control(declared, np.zeros((1, 3))).convex.origin == "declared"
    assert analyse_control(two_kinds(lambda t, x, a: jnp.cos(3 * x[0]) + a[0] ** 2), np.zeros((1, 3))).convex is None


def test_modulus_is_what_a_cross_term_leaves():
    """x^2 + a^2 + c x a has Schur complement 2 - c^2 / 2 in a."""
    cost = lambda t, x, a: x[0] ** 2 + a[0] ** 2 + x[0] * a[0]      # noqa: E731
    found = analyse_control(scalar(running_cost=cost), np.zeros((1, 1)))
    np.testing.assert_allclose(found.modulus.value, 1.5, rtol=1e-3)


HALF_RANK = jnp.asarray(np.random.default_rng(0).standard_normal((2, 4)), dtype=jnp.float32)
SINGULAR = HALF_RANK.T @ HALF_RANK      # rounded: its eigenvalues that should be 0 are 1e-7


@pytest.mark.parametrize(("cost", "origin", "moduli"), [
    # A second derivative of -2 eps in x: |eps| was below a slack of 1e-5 of the largest eigenvalue, "proved" convex.
    (lambda t, x, a: 0.5 * a[1] ** 2 - 2.5e-6 * x[0] ** 2, None, (0.0, 0.0)),
    (lambda t, x, a: 1e-7 * (0.5 * a[1] ** 2 - 2.5e-6 * x[0] ** 2), None, (0.0, 0.0)),
    (lambda t, x, a: 0.5 * a[1] ** 2 + 1e-9 * (x[0] ** 2 + 1.999 * x[0] * a[0] + a[0] ** 2), "proved", (2e-12, 1e-3)),
    (lambda t, x, a: 0.5 * a[1] ** 2 + 1e-9 * (x[0] ** 2 + 2.00002 * x[0] * a[0] + a[0] ** 2), None, (0.0, 0.0)),
    (lambda t, x, a: x[0] ** 2 + 2 * x[0] * a[0] + a[0] ** 2 + a[1] ** 2, "tested", (0.0, 0.0)),      # (x + a)^2
    (lambda t, x, a: (x[0] + a[0]) ** 2 + a[1] ** 2, "proved", (0.0, 0.0)),
    (lambda t, x, a: x @ SINGULAR @ x + jnp.sum(a**2), "tested", (2.0, 2.0)),
    (lambda t, x, a: jnp.sum((HALF_RANK @ x) ** 2) + jnp.sum(a**2), "proved", (2.0, 2.0)),
])
def test_no_block_is_judged_by_the_size_of_another(cost, origin, moduli):
    problem = uc.ControlProblem(
        dim=4, control_dim=2, horizon=1.0, steps=10, volatility=0.1, control_bounds=(-100.0, 100.0),
        drift=lambda t, x, a: jnp.concatenate([a, a]), running_cost=cost, terminal_cost=lambda x: 0.0 * x[0],
    )
    found = analyse_control(problem, np.zeros((1, 4)))
    assert (found.convex and found.convex.origin) == origin
    if origin is not None:
        np.testing.assert_allclose(found.modulus.value, moduli, rtol=5e-3, atol=1e-15)
        assert found.modulus.origin == "proved"


def test_a_little_concave_is_not_convex():
    """Pushing to the end of the box costs 0.992875; the lower end was 0.99949, two-sided."""
    problem = uc.ControlProblem(
        dim=1, control_dim=2, horizon=1.0, steps=10, volatility=0.1, control_bounds=(-100.0, 100.0),
        drift=lambda t, x, a: a[:1], terminal_cost=lambda x: 0.0 * x[0],
        running_cost=lambda t, x, a: 0.5 * a[1] ** 2 - 2.5e-6 * x[0] ** 2 + 1.0,
    )
    solution = uc.solve(problem, np.zeros(1), progress=False, throw=False)
    assert solution.low <= 0.992875 and solution.guarantee is Guarantee.upper_bound


# --- values


def test_scalar_linear_quadratic_has_the_value_of_the_recursion_by_hand():
    solution = uc.solve(scalar(), np.array([[0.0], [1.5]]), rtol=1e-4, progress=False)
    known = [riccati_by_hand(scalar(), x) for x in (0.0, 1.5)]
    assert solution.guarantee is Guarantee.two_sided
    assert (solution.low <= known).all() and (known <= solution.high).all()
    assert (solution.high - solution.low < 1e-4 * np.abs(known)).all()
    # The policy is -P h / (h + P h^2) x; at the last decision P = 1.
    h = scalar().step
    np.testing.assert_allclose(solution.policy(0.9, np.array([2.0])), [-2.0 / (1 + h)], rtol=1e-4)
    assert (solution.baseline.value > solution.high).all()


@pytest.mark.parametrize("e", [1e-3, 1e-5])
def test_rounding_of_terms_that_cancel_is_in_the_interval(e):
    """x_1 ends at x_1 + 0.3 x_2 without control: e, of terms of 0.3. The least cost is (e + 0.3 - float32(0.3))^2 / 4
    for a problem that is stated in float32, e^2 / 4 as written: both lie inside."""
    problem = uc.ControlProblem(
        dim=2, control_dim=1, horizon=1.0, steps=10, volatility=0.0, terminal_cost=lambda x: 0.5 * x[0] ** 2,
        drift=lambda t, x, a: jnp.stack([0.3 * x[1] + a[0], 0.0]), running_cost=lambda t, x, a: 0.5 * jnp.sum(a**2),
    )
    solution = uc.solve(problem, np.array([-0.3 + e, 1.0]), progress=False, throw=False)
    for error in (0.0, float(np.float32(0.3)) - 0.3):
        assert solution.low <= (e + error) ** 2 / 4 <= solution.high


@pytest.mark.parametrize("seed", range(2))
def test_a_rare_bound_does_not_make_an_end_infinite(seed):
    """A martingale takes all noise out but where a path meets its box: an average that few paths carry. The plain cost
    has no such tail. It said [0, inf], two-sided. Without the box the cost is a little less: 1.1845 by Riccati."""
    problem = scalar(steps=5, volatility=0.3, control_bounds=(-1.0, 1.0))
    solution = uc.solve(problem, np.ones(1), rtol=1e-2, seed=seed, progress=False, throw=False)
    free = uc.solve(dataclasses.replace(problem, control_bounds=None), np.ones(1), progress=False)
    assert solution.guarantee is Guarantee.two_sided and solution.result is Result.tolerance_met
    assert solution.low - 1e-3 <= free.value <= solution.high and np.isfinite(solution.high)


def test_plain_average_stands_in_where_few_paths_carry_the_other():
    """One path of 1000 makes all of the scatter of the first column: both ends come from the last, at the confidence
    that is left for it."""
    rng = np.random.default_rng(0)
    plain, rare = 1.0 + 0.1 * rng.standard_normal(1000), np.full(1000, 1.0)
    rare[17] += 0.5
    cost, gap = Moments.of(np.stack([rare, plain], axis=-1)[None]), Moments.of(np.zeros((1, 1000, 1)))
    bounds = interval(cost, gap, 2.576, 0.0, 0.0, True)
    first, last = shared_factors(2.576)
    assert cost.heavy.tolist() == [[True, False]]
    assert bounds.high[0] == pytest.approx(plain.mean() + last * cost.error[0, 1])
    assert bounds.low[0] == pytest.approx(plain.mean() - last * cost.error[0, 1])
    tail = NormalDist().cdf
    assert tail(-first) + tail(-last) == pytest.approx(tail(-2.576)) and 2.576 < first < 2.6 < last < 3.5
    worse = Moments.of(np.stack([rare, rare], axis=-1)[None])
    assert np.isinf(interval(worse, gap, 2.576, 0.0, 0.0, True).high[0])


@pytest.mark.parametrize(("word", "low", "high", "left"), [
    ("two_sided", [0.0, 0.0], [1.0, 1.0], "two_sided"), ("two_sided", [0.0, 0.0], [1.0, np.inf], "lower_bound"),
    ("unbiased", [-np.inf, 0.0], [1.0, 1.0], "upper_bound"), ("unbiased", [-np.inf], [np.inf], "estimate"),
    ("upper_bound", [0.0], [np.inf], "estimate"), ("lower_bound", [-np.inf], [1.0], "estimate"),
    ("upper_bound", [-np.inf], [1.0], "upper_bound"), ("estimate", [0.0], [1.0], "estimate"),
])
def test_an_infinite_end_is_no_bound(word, low, high, left):
    assert Guarantee(word).given(np.array(low), np.array(high)) is Guarantee(left)


def test_lqg_of_the_zoo_against_its_own_recursion():
    case = uc.zoo.lqg(dim=12)
    solution = uc.solve(case.problem, case.at, progress=False)
    assert solution.low <= case.reference <= solution.high


def test_grid_programme_converges():
    problem = scalar(control_bounds=(-0.6, 0.6), steps=5)
    coarse, fine = (grid_value(problem, np.linspace(-0.6, 0.6, n), 1.0, cells=c) for n, c in ((13, 601), (25, 1201)))
    assert abs(coarse - fine) < 1e-3 * fine


@pytest.mark.parametrize("cost", [
    lambda t, x, a: x[0] ** 2 + a[0] ** 2,
    lambda t, x, a: x[0] ** 2 + jnp.maximum(x[0] - 0.5, 0.0) ** 2 + a[0] ** 2 + 0.5 * jnp.abs(a[0]),
])
def test_a_box_against_dynamic_programming(cost):
    problem = scalar(running_cost=cost, control_bounds=(-0.6, 0.6))
    known = grid_value(problem, np.linspace(-0.6, 0.6, 41), 1.0)
    solution = uc.solve(problem, np.ones(1), rtol=5e-3, confidence=0.999, progress=False)
    assert solution.guarantee is Guarantee.two_sided
    assert solution.low - 2e-3 * known <= known <= solution.high + 2e-3 * known
    assert solution.half_width <= 5e-3 * solution.value
    assert abs(float(solution.policy(0.0, np.array([3.0]))[0]) + 0.6) < 1e-6


def branched_bound(
    problem: uc.ControlProblem, gains: float, push: float, count: int, seed: int
) -> tuple[Moments, Moments]:
    """Moments of the cost and of the gap of the policy a = -gains x + push."""
    n = problem.steps
    policy = Feedback.of(problem, np.zeros((n, 1)), np.full((n, 1), push), np.full((n, 1, 1), -gains))
    rolls = Rollouts(problem, policy, Quadratic.skeleton(problem, {}), np.ones((1, 1)), 1024)
    low, high = problem.control_bounds or (-np.inf, np.inf)
    low, high = (np.broadcast_to(np.asarray(e, dtype=float), (1,)) for e in (low, high))
    bound = Branched(np.full(1, 2.0), low, high, problem.step, n, np.zeros(1, bool))
    pilot = next(rolls.gradients(stream(seed, Purpose.pilot), 256))
    bound = dataclasses.replace(bound, paired=chosen(bound, *pilot))
    cost = Moments.of(np.concatenate(list(rolls.costs(stream(seed, Purpose.certificate), 4 * count)), axis=1)[..., :1])
    gaps = [bound.columns(g, a) for g, a in rolls.gradients(stream(seed, Purpose.certificate, 1), count)]
    return cost, Moments.of(np.concatenate(gaps, axis=1))


@pytest.mark.parametrize(("gains", "push"), [(0.0, 0.0), (2.5, 0.0), (0.3, 0.7), (-1.0, 0.0)])
def test_a_bad_policy_never_lifts_the_lower_end_above_the_value(gains, push):
    """Ten seeds, each wrong with probability 0.5 % at most: two or more misses have a probability below 0.1 %."""
    for problem in (scalar(), scalar(control_bounds=(-0.6, 0.6))):
        known = riccati_by_hand(scalar(), 1.0) if problem.control_bounds is None else (
            grid_value(problem, np.linspace(-0.6, 0.6, 25), 1.0, cells=601))
        misses = 0
        for seed in range(10):
            cost, gap = branched_bound(problem, gains, push, 512, seed)
            low = cost.mean[0, 0] - gap.mean[0, 0] - 2.576 * math.hypot(cost.error[0, 0], gap.cautious_error[0, 0])
            misses += low > known * (1 + 1e-4)
        assert misses <= 1


def test_control_variates_have_mean_zero_where_controls_scale_the_noise():
    """Gradients and costs with a wrong value surrogate and without: 4 standard errors, wrong in 1 of 16 000 runs."""
    problem = scalar(volatility=lambda t, x, a: 0.5 + 0.4 * x + 0.6 * a)
    policy = Feedback.of(problem, np.zeros((10, 1)), np.zeros((10, 1)), np.full((10, 1, 1), -0.5))
    n = problem.steps + 1
    wrong = Quadratic.of(np.full((n, 1, 1), 1.5), np.full((n, 1), 0.5), np.zeros(n), problem.step)
    means, costs = [], []
    for value in (Quadratic.skeleton(problem, {}), wrong):
        rolls = Rollouts(problem, policy, value, np.ones((1, 1)), 1024)
        g = np.concatenate([g for g, _ in rolls.gradients(stream(0, Purpose.pilot), 2048)], axis=1).mean(axis=2)
        means.append(Moments.of(g))
        drawn = np.concatenate(list(rolls.costs(stream(0, Purpose.pilot, 1), 32768)), axis=1)
        costs.append(Moments.of(drawn[..., :1] - drawn[..., 1:]))
    for plain, varied in (means, costs):
        gap = plain.mean[0, 0] - varied.mean[0, 0]
        assert abs(gap) < 4 * math.hypot(plain.error[0, 0], varied.error[0, 0])
        assert varied.error[0, 0] != plain.error[0, 0]


def test_without_bounds_the_gap_is_what_the_gradient_says():
    """With one date the gap is E G^2 / (2 m h), G the gradient there: compared on both sides."""
    problem = scalar(steps=1)
    cost, gap = branched_bound(problem, 0.0, 0.3, 4096, 0)
    # One step, h = 1: cost = 1 + a^2 + (1 + a)^2 + sigma^2, gradient 2 a + 2 (1 + a) = 2.6 + 0.6, modulus 2.
    np.testing.assert_allclose(gap.mean[0, 0], 3.2**2 / 4, rtol=0.05)
    assert abs(cost.mean[0, 0] - (1 + 0.09 + 1.69 + 0.25)) < 4 * cost.error[0, 0]


@pytest.mark.parametrize("cost", [
    lambda t, x, a: a[0] ** 2 - jnp.abs(a[0]),
    lambda t, x, a: x[0] ** 2 - jnp.abs(x[0]) + a[0] ** 2,
    lambda t, x, a: a[0] ** 2 - jnp.maximum(a[0], 0.0),
    lambda t, x, a: a[0] ** 2 - jnp.floor(a[0]),
    lambda t, x, a: jnp.where(a[0] > 0, a[0] ** 2 - 1.0, a[0] ** 2),
])
def test_kinks_that_a_second_derivative_misses_are_no_proof(cost):
    found = analyse_control(scalar(running_cost=cost), np.ones((1, 1)))
    assert not found.quadratic and not found.proved


def test_kinks_that_bend_up_keep_the_modulus():
    found = analyse_control(scalar(running_cost=lambda t, x, a: a[0] ** 2 + jnp.abs(a[0] - x[0])), np.ones((1, 1)))
    assert found.proved and not found.quadratic
    np.testing.assert_allclose(found.modulus.value, [2.0], rtol=1e-3)


def test_what_theorem_8_does_not_reach_gets_an_upper_bound_and_says_so():
    problem = scalar(drift=lambda t, x, a: jnp.sin(x) * (1 + a), steps=5)
    solution = uc.solve(problem, np.ones(1), rtol=1e-2, progress=False, throw=False, time_limit=20.0)
    assert solution.guarantee is Guarantee.upper_bound
    assert solution.low == 0.0                          # costs are squares
    assert "nothing is proved below" in " ".join(solution.assumptions)
    assert solution.stats["stationarity"] >= 0.0
    assert solution.result is not Result.tolerance_met


def test_the_continuous_limit_is_hopf_cole():
    case = uc.zoo.hjb_control(dim=10, strength=2.0)
    assert case.reference == uc.zoo.hjb(dim=10, strength=2.0).reference
    solution = uc.solve(case.problem, case.at, rtol=5e-3, progress=False)
    assert solution.low <= case.reference <= solution.high
    assert solution.guarantee is Guarantee.unbiased
    x = np.full(10, 0.3)
    expected = -np.sqrt(2.0) * np.asarray(solution.field.grad(0.5, x))      # a = -B^T grad / 2, B = 2 sqrt(strength)
    np.testing.assert_allclose(solution.policy(0.5, x), expected, rtol=1e-4)


def test_the_limit_finds_its_process():
    stated = {"continuous": True, "dim": 2, "control_dim": 2, "horizon": 1.0, "steps": 5, "volatility": 0.4,
              "running_cost": lambda t, x, a: jnp.sum(a**2), "terminal_cost": lambda x: jnp.sum(x**2)}
    for drift, name in (
        (lambda t, x, a: a, "Brownian"), (lambda t, x, a: 2.0 * (0.5 - x) + a, "OrnsteinUhlenbeck"),
        (lambda t, x, a: jnp.sin(x) + a, "Diffusion"),
    ):
        problem = uc.ControlProblem(drift=drift, **stated)
        assert type(Limit.of(problem, np.zeros((1, 2))).equation().process).__name__ == name


# --- how a run ends


def test_many_starting_points_share_one_policy():
    problem = uc.zoo.constrained_lq(dim=4, bound=0.5).problem
    points = np.array([np.zeros(4), np.ones(4), [1.0, -1.0, 0.5, 0.0]])
    solution = uc.solve(problem, points, rtol=2e-2, progress=False, throw=False)
    assert solution.value.shape == (3,)
    alone = uc.solve(problem, points[1], rtol=2e-2, progress=False, throw=False, seed=1)
    assert solution.low[1] <= alone.high and alone.low <= solution.high[1]


def test_time_limit_gives_an_honest_interval():
    case = uc.zoo.battery_fleet(batteries=2, steps=6)
    solution = uc.solve(case.problem, case.at, rtol=1e-5, progress=False, throw=False, time_limit=6.0)
    assert solution.result is Result.time_limit
    assert solution.low < solution.high
    assert solution.guarantee is Guarantee.two_sided


@pytest.mark.parametrize("cost", [
    lambda t, x, a: x[0] ** 2 - a[0] ** 2, lambda t, x, a: x[0] ** 2 - 3 * a[0],
])
def test_costs_without_a_floor_are_refused(cost):
    with pytest.raises(ValueError, match="unbounded below"):
        uc.solve(scalar(running_cost=cost, terminal_cost=lambda x: jnp.abs(x[0])), np.ones(1), progress=False)


def test_costs_that_are_not_numbers_end_in_words():
    problem = scalar(running_cost=lambda t, x, a: jnp.log(x[0]) + a[0] ** 2, control_bounds=(-1.0, 1.0))
    solution = uc.solve(problem, np.full(1, 0.01), progress=False, throw=False, time_limit=10.0)
    assert solution.result is Result.not_finite
    assert not np.isfinite(solution.low) and not np.isfinite(solution.high)


def test_bad_requests_are_refused():
    with pytest.raises(ValueError, match="leave `method` out"):
        uc.solve(scalar(), np.ones(1), method="network", progress=False)
    rough = scalar(running_cost=lambda t, x, a: jnp.abs(a[0]), continuous=True)
    with pytest.raises(ValueError, match="quadratic in the control"):
        uc.solve(rough, np.ones(1), progress=False)
    bent = scalar(drift=lambda t, x, a: a**2, continuous=True)
    with pytest.raises(ValueError, match="affine in the control"):
        uc.solve(bent, np.ones(1), progress=False)


def test_execution_without_constraints_meets_its_formula():
    case = uc.zoo.optimal_execution(stocks=3)
    solution = uc.solve(case.problem, case.at, progress=False)
    assert solution.low <= case.reference <= solution.high


@pytest.mark.parametrize("case", [uc.zoo.lqg(dim=3), uc.zoo.hjb_control(dim=3)], ids=lambda c: c.name)
def test_policies_and_values_come_back_from_a_file(case, tmp_path):
    solution = uc.solve(case.problem, case.at, rtol=1e-2, progress=False)
    solution.save(tmp_path / "saved")
    loaded = uc.load(tmp_path / "saved")
    x = np.full(3, 0.4)
    np.testing.assert_array_equal(loaded.policy(0.2, x), solution.policy(0.2, x))
    np.testing.assert_array_equal(loaded.field(0.2, x), solution.field(0.2, x))


@pytest.mark.parametrize(("name", "parameters", "digits"), [
    ("lqg", {"dim": 5}, 12), ("hjb_control", {"dim": 5, "strength": 2.0}, 8),
    ("constrained_lq", {"dim": 5, "bound": 0.5}, 0),
    ("optimal_execution", {"stocks": 2}, 12), ("optimal_execution", {"stocks": 2, "no_buying": True}, 0),
    ("battery_fleet", {"batteries": 2, "steps": 4}, 0),
])
def test_cases_of_the_zoo_are_complete(name, parameters, digits):
    case = uc.zoo.get(name, **parameters)
    assert case.name == case.problem.name == name.replace("_", "-")
    assert case.parameters | parameters == case.parameters and case.problem.zoo["parameters"] == case.parameters
    assert len(case.at) == case.problem.dim and case.digits == digits if digits != 8 else case.digits >= 8
    assert (case.reference is None) == (digits == 0) and case.origin
    first = next(iter(parameters))
    for bad, error in ((0, ValueError), (2.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match=f"{first} must be"):
            uc.zoo.get(name, **{first: bad})


def test_controls_that_cost_nothing_are_bounded_by_their_box():
    """Modulus 0: the bound is the largest gain within the box, for a control that is pushed to its ends."""
    cost = lambda t, x, a: x[0] ** 2 + 0.1 * jnp.abs(a[0])      # noqa: E731
    problem = scalar(running_cost=cost, control_bounds=(-0.6, 0.6), steps=5)
    known = grid_value(problem, np.linspace(-0.6, 0.6, 41), 1.0)
    solution = uc.solve(problem, np.ones(1), rtol=2e-2, confidence=0.999, progress=False, throw=False, time_limit=30.0)
    assert solution.guarantee is Guarantee.two_sided
    assert solution.low - 2e-3 * known <= known <= solution.high + 2e-3 * known
    assert solution.half_width < 0.2 * known


def test_an_interrupt_while_training_gives_the_interval_so_far(monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("uncurse.methods.policy.step", stop)
    case = uc.zoo.battery_fleet(batteries=2, steps=4)
    solution = uc.solve(case.problem, case.at, progress=False)
    assert solution.result is Result.interrupted
    assert solution.low < solution.value < solution.high
