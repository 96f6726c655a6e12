"""Are decisions called what they are, and does their picture show the policy's own paths?"""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import uncurse as uc
from uncurse.report._decisions import symmetric
from uncurse.report._record import record_of
from uncurse.surrogates import AbstractPolicy, AbstractRule

TRIPLE = (0, 1, 2)


class Push(AbstractPolicy):
    @property
    def dim(self):
        return 6

    def control(self, t, x):
        return -x[:3] - x[3:]

    def recipe(self):
        return {"class": "Push"}


class Above(AbstractRule):
    level: float
    size: int

    @property
    def dim(self):
        return self.size

    def stop(self, t, x):
        return jnp.max(x) > self.level

    def recipe(self):
        return {"class": "Above"}


FLIGHT = uc.ControlProblem(
    dim=6, control_dim=3, drift=lambda t, x, a: jnp.concatenate([x[3:], a]), volatility=np.repeat([0.0, 0.2], 3),
    running_cost=lambda t, x, a: a @ a, terminal_cost=lambda x: x @ x, horizon=2.0, steps=20, positions=(TRIPLE,),
)  # fmt: skip


def option(d: int) -> uc.StoppingProblem:
    return uc.StoppingProblem(
        process=uc.GeometricBrownian(d, 0.0, 0.3), payoff=lambda t, x: jnp.maximum(jnp.max(x) - 1, 0.0),
        dates=np.linspace(0.0, 1.0, 6),
    )  # fmt: skip


def made(problem, policy, **changes) -> uc.Solution:
    n = np.asarray
    settings = {
        "value": n(1.0), "low": n(-np.inf), "high": n(1.01), "confidence": 0.99, "assumptions": (), "problem": problem,
        "guarantee": uc.Guarantee.upper_bound, "budget": {"sampling": n(0.01)}, "policy": policy,
        "baseline": uc.Estimate(n(2.0), n(1.9), n(2.1)), "result": uc.Result.tolerance_met, "at": np.ones(problem.dim),
        "record": record_of(problem, 0, None, policy), "stats": {"stationarity": 0.034},
    }  # fmt: skip
    return uc.Solution(**{**settings, **changes})


def test_words_follow_the_class_of_the_problem(tmp_path):
    control, stopping = made(FLIGHT, Push()), made(option(1), Above(1.2, 1), guarantee=uc.Guarantee.two_sided)
    assert str(control).startswith("least cost = 1.000  in (unbounded, 1.010]    99 %, upper bound")
    assert "\n  without control 2.00, 100 % away" in str(control)
    assert "\n  stationarity    0.034: gradient of the cost" in str(control)
    assert str(stopping).startswith("best value = ") and "\n  last date only  2.00" in str(stopping)
    assert "stationarity" not in str(stopping)
    for solution in (control, stopping):
        solution.save(tmp_path / "answer")
        assert str(uc.load(tmp_path / "answer")) == str(solution)       # without the problem, from the record


def test_picture_of_a_flight_is_in_space():
    figure = made(FLIGHT, Push()).plot()
    names = [axes.name for axes in figure.axes]
    assert names.count("3d") == 1 and len(figure.axes) == 2 + 1 + 3
    space = figure.axes[names.index("3d")]
    assert len(space.lines) == 13       # twelve runs and the median
    x, y, z = space.lines[-1].get_data_3d()
    assert [x[0], y[0], z[0]] == pytest.approx([1.0] * 3) and np.linalg.norm([x[-1], y[-1], z[-1]]) < 1.0
    assert [axes.get_ylabel() for axes in figure.axes if axes.name != "3d"][2:] == ["a[0]", "a[1]", "a[2]"]


def test_picture_of_other_control_has_fans_of_what_moves_most():
    flat = dataclasses.replace(FLIGHT, positions=None)
    start = np.array([0.0, 0.0, 0.0, 3.0, 0.0, 0.0])
    figure = made(flat, Push(), at=np.stack([start, start]), value=np.ones(2), low=np.zeros(2), high=np.ones(2),
                  baseline=uc.Estimate(*np.ones((3, 2)))).plot()  # fmt: skip
    labels = [axes.get_ylabel() for axes in figure.axes[3:]]
    assert len(labels) == 6 and "x[3]" in labels and "x[0]" in labels


@pytest.mark.parametrize("d", [1, 3])
def test_picture_of_stopping(d, tmp_path):
    figure = made(option(d), Above(1.2, d)).plot(tmp_path / "stop.png")
    where, when = figure.axes[2:]
    assert (tmp_path / "stop.png").stat().st_size > 20_000
    shares = [bar.get_height() for bar in when.patches]
    assert len(shares) == 6 and sum(shares) == pytest.approx(100.0)
    if d == 1:
        tops = [region.get_datalim(where.transData).y0 for region in where.collections]
        assert len(tops) == 5 and tops == pytest.approx([1.2] * 5, abs=0.02)        # the boundary, at all dates but one
    else:
        assert where.get_xlabel() == "largest coordinate"
        goes, stops = (line.get_xdata() for line in where.lines)
        assert goes.max() <= 1.2 < stops.min()


def test_symmetry_is_seen_and_not_invented():
    x = np.random.default_rng(0).uniform(0.5, 1.5, (20, 3)).astype(np.float32)
    assert symmetric(option(3), 0.0, x)
    weighed = dataclasses.replace(option(3), payoff=lambda t, x: x @ jnp.array([1.0, 2.0, 3.0]))
    assert not symmetric(weighed, 0.0, x)


def test_explosions_are_said_in_the_picture():
    wild = dataclasses.replace(FLIGHT, drift=lambda t, x, a: 1e9 * x**3, positions=None)
    figure = made(wild, Push()).plot()
    assert "no path is finite" in figure.axes[2].get_title(loc="left")


@pytest.mark.parametrize("positions", [(0, 1, 2), ((0, 1),), ((0, 1, 6),), ((0.0, 1.0, 2.0),), ((-1, 0, 1),)])
def test_positions_must_be_triples_of_states(positions):
    with pytest.raises(ValueError, match="positions must be triples of indices of states, from 0 to 5"):
        dataclasses.replace(FLIGHT, positions=positions)
