"""Optimal stopping: the referee, the pieces, the theorem for any surrogate, coverage, and whole solves.

Comparisons with sampling error are made at a false-alarm rate of 1e-6 each (`Z` of _problems.py), coverage at 1e-4.
"""

import dataclasses
import functools
import math
from statistics import NormalDist

import equinox as eqx
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from _problems import Z
from scipy.stats import binom

import uncurse as uc
from uncurse import Guarantee, Result, zoo
from uncurse.analysis._chance import varies
from uncurse.certificates import DateSampler, StoppingBounds, Walk
from uncurse.classical import bermudan, bermudan_plane
from uncurse.methods import Backward, BackwardNetwork, skeleton
from uncurse.statistics import Moments, Purpose, half_width_factor, normal, shifted_net, stream
from uncurse.surrogates import AbstractContinuation, Nodes, StopRule, Summary, UnknownClassError
from uncurse.surrogates._summary import ranked, symmetry

PUT = {"drift": 0.05, "volatility": 0.3, "discount": 0.05, "kinks": [100.0]}
QUARTERS = np.arange(1, 5) / 4


def put(t, s):
    return np.maximum(100.0 - s, 0.0)


def put_problem(dates=QUARTERS, **more):
    process = uc.GeometricBrownian(1, 0.05, 0.3)
    payoff = more.pop("payoff", lambda t, x: jnp.maximum(100.0 - x[0], 0.0))
    return uc.StoppingProblem(process, payoff, dates, discount=0.05, **more)


def solve(problem, at, **more):
    return uc.solve(problem, at, progress=False, throw=False, **more)


# --- the referee --------------------------------------------------------------------------------------------------


def black_scholes_put(spot, strike, r, sigma, t):
    d1 = (math.log(spot / strike) + (r + sigma**2 / 2) * t) / (sigma * math.sqrt(t))
    phi = NormalDist().cdf
    return strike * math.exp(-r * t) * phi(sigma * math.sqrt(t) - d1) - spot * phi(-d1)


def test_one_date_is_a_european_option():
    found = bermudan.solve(put, spot=90.0, dates=[0.7], **PUT)
    assert abs(found.value - black_scholes_put(90.0, 100.0, 0.05, 0.3, 0.7)) < 1e-11
    # without interest a put is never stopped early
    free = PUT | {"drift": 0.0, "discount": 0.0}
    early = bermudan.solve(put, spot=90.0, dates=QUARTERS, **free)
    assert abs(early.value - black_scholes_put(90.0, 100.0, 0.0, 0.3, 1.0)) < 1e-9


def test_the_referee_agrees_with_a_binomial_tree():
    """Cox, Ross and Rubinstein 1979: error of order 1/n, with a sawtooth; two sizes say how large it is."""
    def tree(n):
        up, growth = math.exp(0.3 / math.sqrt(n)), math.exp(0.05 / n)
        p = (growth - 1 / up) / (up - 1 / up)
        price = 100.0 * up ** np.arange(-n, n + 1, 2.0)
        value = put(1.0, price)
        for k in range(n - 1, -1, -1):
            value = (p * value[1:] + (1 - p) * value[:-1]) / growth
            if k and k % (n // 4) == 0:
                value = np.maximum(value, put(0.0, 100.0 * up ** np.arange(-k, k + 1, 2.0)))
        return value[0]

    exact = bermudan.solve(put, spot=100.0, dates=QUARTERS, **PUT)
    assert abs(tree(2000) - exact.value) < 4e-3
    assert abs(tree(2000) + tree(2001 + 3) - 2 * exact.value) / 2 < 4e-3
    assert exact.error < 1e-8


def test_stopping_at_once_and_bad_input_to_the_referee():
    assert bermudan.solve(put, spot=50.0, dates=[0.0, *QUARTERS], **PUT).value == 50.0
    later, sooner = (bermudan.solve(put, spot=100.0, dates=np.arange(1, n + 1) / n, **PUT).value for n in (4, 8))
    assert later < sooner       # more dates, more value
    with pytest.raises(ValueError, match="spot"):
        bermudan.solve(put, spot=0.0, dates=QUARTERS, **PUT)
    with pytest.raises(ValueError, match="are all kinks named"):
        bermudan.solve(put, spot=100.0, dates=QUARTERS, **(PUT | {"kinks": [], "volatility": 0.02}))


def test_the_referee_in_the_plane():
    """One asset alone gives the answer in one dimension; the better of two is worth more, and less than both."""
    law = {"drift": 0.05, "volatility": 0.3, "discount": 0.05, "spot": 90.0, "dates": QUARTERS}
    line = bermudan.solve(put, kinks=[100.0], **law)
    plane = bermudan_plane.solve(lambda t, a, b: put(t, a) + 0 * b, **law)
    assert abs(plane.value - line.value) < 1e-4 * line.value and plane.error < 3e-4 * line.value
    both = bermudan_plane.solve(lambda t, a, b: np.maximum(put(t, a), put(t, b)), **law)
    assert line.value < both.value < 2 * line.value
    # Andersen and Broadie 2004, table 2, print 13.902 for the call on the larger of two.
    case = uc.zoo.max_call(dim=2)
    assert abs(case.reference - 13.902) < 1e-3 and case.digits >= 4
    with pytest.raises(ValueError, match="volatility"):
        bermudan_plane.solve(lambda t, a, b: a + b, **(law | {"volatility": 0.0}))


# --- pieces -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", [1, 3, 40])
def test_a_shifted_net_is_unbiased_and_better_than_random_points(dims):
    points, shifts = 16, 4096
    rng = np.random.default_rng(1)
    net = shifted_net(points, dims, rng)
    assert net.shape == (points, dims) and net.dtype == np.uint32
    bits = jnp.asarray(rng.integers(0, 2**32, (shifts, dims), dtype=np.uint32))

    def mean(shift):
        x = normal(jnp.asarray(net) + shift)
        return jnp.mean(jnp.exp(jnp.sum(x, axis=1) / math.sqrt(dims) / 2))

    found = np.asarray(jax.vmap(mean)(bits), dtype=np.float64)
    truth, variance = math.exp(1 / 8), math.exp(1 / 2) - math.exp(1 / 4)
    assert abs(found.mean() - truth) < Z * found.std() / math.sqrt(shifts)
    assert found.var() < 0.5 * variance / points


def test_order_statistics_are_those_of_a_sort():
    for d, count in ((5, 5), (30, 4), (30, 0)):
        y = np.random.default_rng(d).standard_normal(d).astype(np.float32)
        y[1] = y[0]     # ties
        np.testing.assert_array_equal(np.asarray(ranked(jnp.asarray(y), count)), np.sort(y)[::-1][:count])


def test_symmetry_is_seen_only_where_it_is():
    sample = np.random.default_rng(0).uniform(80, 120, (100, 3))
    process = uc.GeometricBrownian(3, 0.0, 0.2)

    def found(process, payoff=lambda t, x: jnp.max(x)):
        return symmetry(uc.StoppingProblem(process, payoff, [1.0]), sample)

    assert found(process) == (True, True)
    assert found(process, lambda t, x: x[0] + 0.1 * x[1]) == (False, False)
    assert found(uc.GeometricBrownian(3, 0.0, [0.2, 0.2, 0.3])) == (True, False)
    assert found(uc.GeometricBrownian(3, [0.0, 0.0, 0.1], 0.2)) == (True, False)
    rho = np.array([[1, 0.5, 0.1], [0.5, 1, 0.1], [0.1, 0.1, 1]])
    assert found(uc.GeometricBrownian(3, 0.0, 0.2, rho)) == (True, False)


@pytest.mark.parametrize("process", [
    uc.Brownian(2, 0.5), uc.GeometricBrownian(2, 0.1, 0.3), uc.OrnsteinUhlenbeck(2, 1.0, 0.3),
])
def test_charts_undo_moves(process):
    x, y = jnp.asarray([1.5, 2.5]), jnp.asarray([0.3, -0.2])
    np.testing.assert_allclose(process.chart(x, process.move(x, y)), y, rtol=1e-5)


# --- the theorem --------------------------------------------------------------------------------------------------


@functools.cache
def basket():
    return zoo.geometric_basket(dim=3, dates=5)


@functools.cache
def fitted() -> AbstractContinuation:
    case = basket()
    return Backward(features=64, paths=2048, points=8).fit(case.problem, case.at[None], 1, 0, 0)


@functools.cache
def trained() -> AbstractContinuation:
    case = basket()
    return BackwardNetwork(width=16, paths=2048, points=8, iterations=100).fit(case.problem, case.at[None], 1, 0, 0)


def moments_of(surrogate, seed, count=2048, points=8):
    case = basket()
    walk = Walk.of(case.problem, surrogate.nodes, 1, points, np.random.default_rng(7))
    sampler = DateSampler(walk, case.at[None], 256)
    *_, moments = sampler.moments(surrogate, stream(seed, Purpose.certificate), count, StoppingBounds.of(True))
    return moments


@pytest.mark.parametrize("kind", ["fitted", "trained", "zero", "wild"])
def test_any_surrogate_gives_two_bounds(kind):
    """Right, empty or nonsense: the ends hold V, and what is subtracted has mean 0."""
    surrogate, truth = trained() if kind == "trained" else fitted(), basket().reference
    if kind in ("zero", "wild"):
        noise = np.random.default_rng(3).standard_normal(surrogate.theta.shape) * (0.3 if kind == "wild" else 0.0)
        surrogate = eqx.tree_at(lambda s: s.theta, surrogate, jnp.asarray(noise, dtype=np.float32))
    moments = moments_of(surrogate, 11, 8192)
    earned, best, gap = moments.mean[0, :3]
    errors = moments.cautious_error[0]
    assert earned - Z * errors[0] <= truth <= best + Z * errors[1]
    assert gap >= 0
    if kind in ("fitted", "trained"):
        assert gap < 0.02 * truth and moments.deviation[0, 0] < 0.2 * truth
    else:       # the test would see a bound that is wrong: these are wide
        assert gap > 0.05 * truth


def test_the_martingale_has_mean_zero_and_the_rule_earns_what_is_said():
    """Run the frozen rule in NumPy, in float64, with noise of its own and no martingale."""
    case, surrogate = basket(), fitted()
    rule, problem, rng = StopRule(surrogate), case.problem, np.random.default_rng(5)
    decide = eqx.filter_jit(lambda k, x: jax.vmap(rule.at_date, (None, 0))(k, x))
    count, dt = 40_000, 0.2
    factor = np.linalg.cholesky(np.where(np.eye(3) > 0, 1.0, 0.5))
    x, alive, paid = np.full((count, 3), 100.0), np.ones(count, dtype=bool), np.zeros(count)
    for k in range(1, 6):
        x = x * np.exp((0.05 - 0.08) * dt + 0.4 * math.sqrt(dt) * rng.standard_normal((count, 3)) @ factor.T)
        stop = alive & np.asarray(decide(jnp.asarray(k), jnp.asarray(x, dtype=np.float32)))
        paid[stop] = (math.exp(-0.05 * k * dt) * np.maximum(100.0 - np.exp(np.log(x).mean(axis=1)), 0.0))[stop]
        alive &= ~stop
    assert not alive.any()
    moments = moments_of(surrogate, 12, 8192)
    error = math.hypot(paid.std() / math.sqrt(count), moments.cautious_error[0, 0])
    assert abs(paid.mean() - moments.mean[0, 0]) < Z * error
    assert np.asarray(problem.dates).tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_intervals_hold_the_truth_as_often_as_they_say():
    """300 certificates of one frozen surrogate, a nominal 90 %; binomial limit at 1e-4."""
    level, seeds, truth = 0.9, 300, basket().reference
    z, certificate = half_width_factor(level), StoppingBounds.of(True)
    held, widths = 0, []
    for seed in range(seeds):
        bounds = certificate.bounds(moments_of(fitted(), 100 + seed, 512), z, np.array([-np.inf]))
        held += bool(bounds.low[0] <= truth <= bounds.high[0])
        widths.append(bounds.half_width[0])
    assert held >= binom.ppf(1e-4, seeds, level), held
    assert np.mean(widths) < 0.015 * truth


def test_each_end_misses_no_more_than_its_share():
    """The same for the ends alone, with the gap taken away: E earned and E best are known from a long run."""
    long = moments_of(fitted(), 9, 2**16)
    means = long.mean[0, :2]
    certificate, z, misses = StoppingBounds.of(True), half_width_factor(0.9), np.zeros(2)
    for seed in range(150):
        bounds = certificate.bounds(moments_of(fitted(), 1000 + seed, 512), z, np.array([-np.inf]))
        misses += [bounds.low[0] > means[0], bounds.high[0] < means[1]]
    assert (misses <= binom.isf(1e-4, 150, 0.05)).all(), misses
    assert (misses >= binom.ppf(1e-4, 150, 0.025)).all(), misses      # not a width that holds everything


def test_the_budget_adds_up_and_stopping_at_once_counts():
    moments = moments_of(fitted(), 3)
    bounds = StoppingBounds.of(True).bounds(moments, 2.0, np.array([-np.inf]))
    assert sum(part[0] for part in bounds.budget.values()) == pytest.approx(bounds.half_width[0], rel=1e-9)
    assert bounds.guarantee is Guarantee.two_sided
    raised = StoppingBounds.of(True).bounds(moments, 2.0, np.array([1000.0]))
    assert raised.low[0] == raised.high[0] == 1000.0
    shifted = dataclasses.replace(moments, mean=moments.mean + np.array([0, 0, 0, 0, 0.5, 0, 0]))
    stepped = StoppingBounds.of(False).bounds(shifted, 2.0, np.array([-np.inf]))
    assert stepped.guarantee is Guarantee.estimate
    assert stepped.low[0] == pytest.approx(bounds.low[0]) and stepped.high[0] == pytest.approx(bounds.high[0] + 1.0)


# --- whole solves -------------------------------------------------------------------------------------------------


def test_a_basket_with_a_known_value(tmp_path):
    case = zoo.geometric_basket(dim=4)
    solution = solve(case.problem, case.at, rtol=5e-3)
    assert solution.result is Result.tolerance_met and solution.guarantee is Guarantee.two_sided
    assert solution.low <= case.reference <= solution.high
    assert solution.half_width <= 5e-3 * solution.value
    european = bermudan.solve(
        put, spot=100.0, drift=0.05 + (0.1 - 0.16) / 2, volatility=math.sqrt(0.1), dates=[1.0], discount=0.05,
        kinks=[100.0],
    )
    assert solution.baseline.low <= european.value <= solution.baseline.high < solution.low
    policy, deep, out = solution.policy, np.full(4, 50.0), np.full(4, 120.0)
    assert bool(policy(0.5, deep)) and not bool(policy(0.5, out))
    assert not bool(policy(0.0, deep))      # 0 is not a date
    assert policy(1.0, np.stack([deep, out])).tolist() == [True, True]
    assert abs(float(solution.field(0.0, case.at)) - case.reference) < 0.02 * case.reference
    assert float(solution.field(0.5, deep)) == pytest.approx(50.0, rel=1e-4)
    solution.save(tmp_path / "basket")
    again = uc.load(tmp_path / "basket")
    assert (again.low, again.high) == (solution.low, solution.high)
    assert again.policy(0.5, np.stack([deep, out])).tolist() == [True, False]
    assert float(again.field(0.3, case.at)) == float(solution.field(0.3, case.at))
    exported = jax.export.deserialize(bytearray(policy.export()))
    assert exported.call(np.float32([0.5, 0.5]), np.stack([deep, out]).astype(np.float32)).tolist() == [True, False]
    assert "inside" in str(solution) and "last date only" in str(solution) and solution.stats["method"] == "features"


def test_max_call_on_two_assets_with_stopping_at_once():
    """Andersen and Broadie 2004, table 2, print 13.90 (13.892 to 13.934 with a binomial tree in two dimensions)."""
    case = zoo.max_call(dim=2)
    solution = solve(case.problem, case.at, rtol=5e-3)
    assert solution.result is Result.tolerance_met
    assert solution.low <= 13.902 <= solution.high
    assert not bool(solution.policy(0.0, case.at))


def test_several_points_at_once():
    points = np.array([[85.0], [100.0], [115.0]])
    solution = solve(put_problem(), points, rtol=1e-2)
    assert solution.value.shape == (3,) and solution.result is Result.tolerance_met
    for i, x in enumerate(points[:, 0]):
        assert solution.low[i] <= bermudan.solve(put, spot=x, dates=QUARTERS, **PUT).value <= solution.high[i]


def test_uneven_assets_without_symmetry():
    """One asset of two matters; the other is noise that the surrogate may look at."""
    process = uc.GeometricBrownian(2, 0.05, [0.3, 0.1])
    problem = uc.StoppingProblem(process, lambda t, x: jnp.maximum(100.0 - x[0], 0.0), QUARTERS, discount=0.05)
    solution = solve(problem, [100.0, 70.0], rtol=1e-2)
    assert solution.low <= bermudan.solve(put, spot=100.0, dates=QUARTERS, **PUT).value <= solution.high
    assert solution.result is Result.tolerance_met


def test_a_stepped_process_is_an_estimate_that_names_its_step():
    process = uc.Diffusion(1, lambda t, x: 0.05 * x, lambda t, x: (0.3 * x)[:, None])
    problem = uc.StoppingProblem(process, lambda t, x: jnp.maximum(100.0 - x[0], 0.0), [0.5, 1.0], discount=0.05)
    solution = solve(problem, [100.0], rtol=2e-2)
    truth = bermudan.solve(put, spot=100.0, dates=[0.5, 1.0], **PUT).value
    assert solution.guarantee is Guarantee.estimate and solution.low <= truth <= solution.high
    assert solution.budget["time step"] > 0 and any("stepped" in words for words in solution.assumptions)


def test_stopping_at_once_where_that_is_best():
    solution = solve(put_problem([0.0, *QUARTERS]), [50.0], rtol=1e-3)
    assert solution.result is Result.tolerance_met and bool(solution.policy(0.0, np.array([50.0])))
    assert solution.value == pytest.approx(50.0, rel=1e-5)


def test_what_no_path_has_seen_is_not_certified():
    nothing = solve(put_problem(), [900.0], rtol=1e-2, method=Backward(32, 512, 8))
    assert nothing.result is Result.heavy_tailed and np.isinf(nothing.high)


SMALL = Backward(32, 512, 8)


@pytest.mark.parametrize(("payoff", "dates", "truth"), [
    (lambda t, x: 0.0 * x[0], [0.5, 1.0], 0.0), (lambda t, x: 3.0, [0.5, 1.0], 3 * math.exp(-0.025)),
    (lambda t, x: jnp.float32(3.0), [0.0, 0.5, 1.0], 3.0),
])
def test_what_cannot_vary_is_known(payoff, dates, truth):
    """No path differs from another because the payoff does not depend on x: that is no unseen event."""
    solution = solve(put_problem(dates, payoff=payoff), [100.0], method=SMALL)
    assert solution.result is Result.tolerance_met and solution.guarantee is Guarantee.two_sided
    assert solution.low <= truth <= solution.high


@pytest.mark.parametrize("process", [uc.GeometricBrownian(1, 0.05, 0.0), uc.Diffusion(
    1, lambda t, x: 0.05 * x, lambda t, x: jnp.zeros((1, 1)))], ids=["exact", "stepped"])
def test_without_noise_there_is_no_chance(process):
    problem = uc.StoppingProblem(process, lambda t, x: jnp.maximum(100.0 - x[0], 0.0), [0.5, 1.0], discount=0.05)
    assert not varies(problem) and varies(put_problem())
    solution = solve(problem, [90.0], method=SMALL)
    truth = math.exp(-0.025) * (100.0 - 90.0 * math.exp(0.025))
    assert np.isfinite(solution.high) and abs(solution.value - truth) < 1e-2 * truth
    assert (solution.low <= truth <= solution.high) or not process.exact


def test_a_martingale_that_few_paths_carry_is_left_out():
    """The payoff -x, discounted, is a martingale: what is left of it by a good M is a few wild paths. It was
    [-inf, -99.9]."""
    process = uc.GeometricBrownian(1, 0.05, 0.3)
    problem = uc.StoppingProblem(process, lambda t, x: -x[0], np.linspace(0.1, 1.0, 10), discount=0.05)
    solution = solve(problem, [100.0], rtol=1e-2)
    assert solution.result is Result.tolerance_met and solution.guarantee is Guarantee.two_sided
    assert solution.low <= -100.0 <= solution.high


@pytest.mark.parametrize("method", [Backward(32, 512, 8), BackwardNetwork(8, 512, 8, 5)], ids=str)
def test_payoffs_that_are_not_finite_are_reported(method):
    problem = put_problem(payoff=lambda t, x: jnp.log(x[0] - 100.0))
    broken = solve(problem, [100.0], rtol=1e-2, method=method)
    assert broken.result is Result.not_finite and np.isinf(broken.high) and np.isinf(broken.low)


def test_the_same_seed_gives_the_same_answer():
    small = Backward(32, 512, 8)
    first, second, other = (solve(put_problem(), [100.0], rtol=2e-2, seed=s, method=small) for s in (1, 1, 2))
    assert (first.low, first.high) == (second.low, second.high) != (other.low, other.high)


def test_control_c_gives_the_interval_so_far(monkeypatch):
    moments, drawn = DateSampler.moments, []

    def stopping(self, surrogate, key, count, certificate):
        for found in moments(self, surrogate, key, count, certificate):
            drawn.append(1)
            if len(drawn) == 12:        # the pilot takes a few rounds
                raise KeyboardInterrupt
            yield found

    monkeypatch.setattr(DateSampler, "moments", stopping)
    solution = solve(put_problem(), [100.0], rtol=5e-4, method=Backward(64, 1024, 8))
    truth = bermudan.solve(put, spot=100.0, dates=QUARTERS, **PUT).value
    assert len(drawn) >= 12 and solution.result is Result.interrupted
    assert solution.low <= truth <= solution.high and solution.half_width > 5e-4 * solution.value


def test_control_c_while_the_first_rule_is_sought(monkeypatch):
    fit, tried = Backward.fit, []

    def interrupted(self, *arguments):
        tried.append(self)
        if len(tried) == 1:
            raise KeyboardInterrupt
        return fit(self, *arguments)

    monkeypatch.setattr(Backward, "fit", interrupted)
    solution = solve(put_problem(), [100.0], rtol=1e-4)
    truth = bermudan.solve(put, spot=100.0, dates=QUARTERS, **PUT).value
    assert solution.result is Result.interrupted and solution.low <= truth <= solution.high


def test_a_limit_of_time_is_kept():
    case = zoo.max_call(dim=3)
    solution = solve(case.problem, case.at, rtol=1e-6, time_limit=6.0)
    assert solution.result in (Result.time_limit, Result.bias_limited, Result.sampling_limited)
    assert solution.low <= 18.69 <= solution.high       # Andersen and Broadie 2004: 18.69
    assert solution.timing.total < 30.0


# --- bad input ----------------------------------------------------------------------------------------------------

FINE = uc.GeometricBrownian(2, 0.0, 0.2)
BAD = {
    "looks ahead": (lambda: uc.StoppingProblem(FINE, lambda t, x, later: x[0], [1.0]), ValueError, "payoff failed"),
    "vector": (lambda: uc.StoppingProblem(FINE, lambda t, x: x, [1.0]), ValueError, r"payoff\(t, x\) must return"),
    "not a function": (lambda: uc.StoppingProblem(FINE, 3.0, [1.0]), TypeError, "payoff must be a function"),
    "decreasing": (lambda: uc.StoppingProblem(FINE, lambda t, x: x[0], [1.0, 0.5]), ValueError, "dates must increase"),
    "twice": (lambda: uc.StoppingProblem(FINE, lambda t, x: x[0], [1.0, 1.0]), ValueError, "dates must increase"),
    "negative": (lambda: uc.StoppingProblem(FINE, lambda t, x: x[0], [-1.0, 1.0]), ValueError, "dates must increase"),
    "only 0": (lambda: uc.StoppingProblem(FINE, lambda t, x: x[0], [0.0]), ValueError, "dates must increase"),
    "no dates": (lambda: uc.StoppingProblem(FINE, lambda t, x: x[0], []), ValueError, "dates must be a list"),
    "nan": (lambda: uc.StoppingProblem(FINE, lambda t, x: x[0], [np.nan]), ValueError, "dates must be finite"),
    "no process": (lambda: uc.StoppingProblem(3, lambda t, x: x[0], [1.0]), TypeError, "process must be"),
    "discount": (lambda: uc.StoppingProblem(FINE, lambda t, x: x[0], [1.0], np.inf), ValueError, "discount"),
    "method": (lambda: uc.solve(put_problem(), [100.0], method="picard"), ValueError, "method of a stopping problem"),
    "no units": (lambda: BackwardNetwork(width=0), ValueError, "width must be at least 1"),
    "half a unit": (lambda: BackwardNetwork(width=2.5), TypeError, "width must be a whole number"),
    "no iterations": (lambda: BackwardNetwork(iterations=0), ValueError, "iterations must be at least 1"),
    "no features": (lambda: Backward(features=0), ValueError, "features must be at least 1"),
    "saved by others": (
        lambda: skeleton(put_problem(), {"class": "StopRule", "continuation": {"class": "Tree"}}),
        UnknownClassError, "no class 'Tree'",
    ),
    "point": (lambda: uc.solve(put_problem(), [100.0, 1.0]), ValueError, "at must have shape"),
    "spot": (lambda: zoo.max_call(spot=-1.0), ValueError, "spot must be"),
    "dates of a case": (lambda: zoo.geometric_basket(dates=0), ValueError, "dates must be at least 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_by_name(name):
    make, error, words = BAD[name]
    with pytest.raises(error, match=words):
        make()


def test_a_summary_says_how_wide_it_is():
    case = basket()
    x = 100.0 * np.exp(0.1 * np.random.default_rng(0).standard_normal((6, 64, 3)))
    nodes = Nodes.of(case.problem)
    summary = Summary.of(case.problem, nodes, x.astype(np.float32), case.at, np.random.default_rng(0))
    pooled, y = summary.pooled(jnp.asarray(3), jnp.asarray(x[3, 0], dtype=np.float32))
    assert pooled.shape == (summary.count,) and y.shape == (3,) and summary.exchangeable
    assert isinstance(moments_of(fitted(), 1, 256), Moments)
