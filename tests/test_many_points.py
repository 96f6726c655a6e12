"""Many points at once: proposals are judged at some, each point gets the paths it needs, all get an honest answer."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

import uncurse as uc
from uncurse import Guarantee, Result
from uncurse._final import _alike
from uncurse.certificates import TOGETHER, Sampler
from uncurse.statistics import Moments

FALSE_ALARM = 1e-4


def shifted(x):
    """u(0, x) of the case below: E exp(-T) (sin X_0 + X_1^2 / 2), X = x + W_T, T = 1."""
    return np.exp(-1) * (np.exp(-0.5) * np.sin(x[:, 0]) + (x[:, 1] ** 2 + 1) / 2)


LINEAR = uc.ParabolicPDE(
    process=uc.Brownian(2, 1.0), source=lambda t, x, u, grad: -u, horizon=1.0,
    terminal=lambda x: jnp.sin(x[0]) + x[1] ** 2 / 2,
)


def test_points_keep_their_order_and_are_as_often_right_as_they_say():
    """150 points of very different scatter; 99 % each, so that 142 or more hold (false alarm 1e-4)."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(150, 2)) * [1.0, 3.0]
    solution = uc.solve(LINEAR, points, rtol=0.0, atol=0.05, progress=False, method="smoothing")
    truth = shifted(points)
    held = (solution.low <= truth) & (truth <= solution.high)
    assert solution.value.shape == (150,) and solution.budget["sampling"].shape == (150,)
    assert held.sum() >= binom.ppf(FALSE_ALARM, 150, 0.99)
    assert (solution.high - solution.low <= 2 * 0.05 * (1 + 1e-9)).all() and solution.result is Result.tolerance_met
    assert np.corrcoef(solution.value, truth)[0, 1] > 0.9999


def test_a_hard_point_does_not_make_all_dear(monkeypatch):
    """One point where the option is at the money, ninety-nine where it is worth nearly nothing."""
    problem = uc.ParabolicPDE(
        process=uc.Brownian(1, 1.0), terminal=lambda x: jnp.maximum(x[0], 0.0) ** 2, horizon=1.0
    )
    points = np.concatenate([[[3.0]], np.linspace(-2.0, -1.0, 99)[:, None]])
    counts, original = [], Moments.concatenate

    def recorded(parts):
        counts.append(original(parts))
        return counts[-1]

    monkeypatch.setattr(Moments, "concatenate", staticmethod(recorded))
    uc.solve(problem, points, rtol=0.0, atol=0.02, progress=False, method="smoothing", throw=False)
    final = [m.counts for m in counts if len(m.counts) == 100][-1]
    assert final.max() > 3 * np.median(final)


def test_an_estimate_at_many_points():
    """Constants of theorem 5 differ from point to point."""
    problem = uc.ParabolicPDE(
        process=uc.Brownian(2, 0.5), horizon=0.3, terminal=lambda x: jnp.cos(x[0]) + jnp.sin(x[1]),
        source=lambda t, x, u, grad: 0.2 * u * jnp.tanh(jnp.sum(grad)),
    )
    points = np.random.default_rng(1).normal(size=(TOGETHER + 8, 2))
    solution = uc.solve(problem, points, rtol=0.0, atol=5e-2, progress=False, method="smoothing", throw=False)
    assert solution.guarantee is Guarantee.estimate and solution.low.shape == (TOGETHER + 8,)
    some = uc.solve(problem, points[:2], rtol=0.0, atol=5e-2, progress=False, method="smoothing", throw=False)
    width = solution.high[:2] - solution.low[:2] + some.high - some.low
    assert (np.abs(solution.value[:2] - some.value) <= width).all()


def test_moments_of_points_that_differ_in_their_number_of_paths():
    rng = np.random.default_rng(2)
    first, more = rng.normal(size=(3, 50, 2)) ** 3, rng.normal(size=(2, 30, 2))
    moments = Moments.of(first).updated(np.array([2, 0]), Moments.of(more))
    assert moments.counts.tolist() == [80, 50, 80] and moments.count == 50
    together = np.concatenate([first[0], more[1]]), first[1], np.concatenate([first[2], more[0]])
    for point, columns in enumerate(together):
        alone = Moments.of(columns[None])
        for name in ("mean", "covariance", "error", "kurtosis", "third"):
            np.testing.assert_allclose(getattr(moments, name)[point], getattr(alone, name)[0], rtol=1e-9)
    assert moments.scaled(1000).counts.tolist() == [1000] * 3


def test_out_of_time_no_point_is_left_out():
    """There may be too few paths to tell an error: then the interval is the whole line, and still none is wrong."""
    points = np.random.default_rng(3).normal(size=(300, 2))
    solution = uc.solve(
        LINEAR, points, rtol=0.0, atol=1e-4, progress=False, method="smoothing", time_limit=1.0, throw=False
    )
    assert solution.result in (Result.time_limit, Result.heavy_tailed)
    assert np.isfinite(solution.value).all() and np.isfinite(solution.low).mean() > 0.5
    held = (solution.low <= shifted(points)) & (shifted(points) <= solution.high)
    assert held.sum() >= binom.ppf(FALSE_ALARM, 300, 0.99)


def test_ctrl_c_leaves_no_point_without_an_answer(monkeypatch):
    points = np.random.default_rng(4).normal(size=(5 * TOGETHER, 2))
    original, calls, groups = Sampler.moments, [], []

    def interrupted(self, *args):
        calls.append(len(self.starts))
        if len(calls) == 3:
            raise KeyboardInterrupt
        yield from original(self, *args)

    def recorded(*args):
        groups.extend(_alike(*args))
        return groups

    monkeypatch.setattr(Sampler, "moments", interrupted)
    monkeypatch.setattr("uncurse._final._alike", recorded)
    solution = uc.solve(LINEAR, points, rtol=0.0, atol=0.02, progress=False, method="smoothing", throw=False)
    assert solution.result in (Result.interrupted, Result.heavy_tailed)
    # Two whole groups, a third that is cut, its least, and one round for each of the rest.
    assert len(groups) >= 5 and calls == [TOGETHER] * (len(groups) + 1)
    assert solution.value.shape == (5 * TOGETHER,) and np.isfinite(solution.value).all()
    held = (solution.low <= shifted(points)) & (shifted(points) <= solution.high)
    assert held.sum() >= binom.ppf(FALSE_ALARM, len(points), 0.99)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=300))
def test_groups_need_about_as_many_paths(missing):
    missing = np.array(missing)
    order = np.argsort(missing, kind="stable")
    groups = list(_alike(order, missing))
    assert np.concatenate(groups).tolist() == order.tolist()
    assert all(1 <= len(g) <= TOGETHER and missing[g].max() <= 2 * missing[g].min() for g in groups)
    assert len(groups) <= len(missing) / TOGETHER + np.log2(missing.max() / missing.min()) + 1
