"""Are simulated paths the problem's own, and does a policy survive the disk and leave the library?"""

import subprocess
import sys
from statistics import NormalDist

import jax.numpy as jnp
import numpy as np
import pytest

import uncurse as uc
from uncurse._solution import Timing
from uncurse.methods.riccati import solve_lq
from uncurse.report._record import record_of
from uncurse.surrogates import AbstractPolicy, Feedback

FALSE_ALARM = 1e-6
Z = NormalDist().inv_cdf(1 - FALSE_ALARM / 2)
LQ = uc.ControlProblem(
    dim=3, control_dim=2, drift=lambda t, x, a: -0.3 * x + jnp.stack([a[0], a[1], a[0] + t]), volatility=0.4,
    running_cost=lambda t, x, a: x @ x + 0.5 * a @ a, terminal_cost=lambda x: x @ x, horizon=1.0, steps=12,
)  # fmt: skip
START = np.array([1.0, -0.5, 0.2])


def feedback(problem: uc.ControlProblem = LQ) -> Feedback:
    exact = solve_lq(problem)
    return Feedback.of(problem, np.zeros((problem.steps, problem.dim)), -exact.k, -exact.K)


def solution_with(policy, problem=LQ, at=START) -> uc.Solution:
    known = np.asarray(1.0)
    return uc.Solution(
        value=known, low=known, high=known, confidence=0.99, guarantee=uc.Guarantee.upper_bound, budget={},
        assumptions=(), baseline=uc.Estimate(known, known, known), result=uc.Result.tolerance_met, at=at,
        problem=problem, policy=policy, timing=Timing(0.0, 0.0, 0.0, 0.0), record=record_of(problem, 0, None, policy),
    )  # fmt: skip


# --- simulate


def test_mean_cost_is_riccatis():
    run = uc.simulate(LQ, feedback(), START, paths=20_000)
    assert run.state.shape == (20_000, 13, 3) and run.control.shape == (20_000, 12, 2) and run.invalid == 0
    error = run.cost.std() / np.sqrt(len(run.cost))
    assert abs(run.cost.mean() - solve_lq(LQ).value(START)) < Z * error
    assert error < 0.01 * run.cost.mean()


def test_arrays_obey_the_equation_of_motion():
    """States step by the drift at the controls shown; what is left is noise of the right size; costs add up."""
    run, h = uc.simulate(LQ, feedback(), np.stack([START, 0 * START]), paths=2000, seed=3), LQ.step
    x, a = run.state.astype(float), run.control.astype(float)
    assert x.shape == (2, 2000, 13, 3) and run.cost.shape == (2, 2000)
    t = run.time[:-1, None]
    pushed = np.concatenate([a, a[..., :1] + t], axis=-1)
    noise = (x[..., 1:, :] - x[..., :-1, :] * (1 - 0.3 * h) - h * pushed) / (0.4 * np.sqrt(h))
    count = noise.size
    assert abs(noise.mean()) < Z / np.sqrt(count) and abs(noise.var() - 1) < Z * np.sqrt(2 / count)
    spent = h * ((x[..., :-1, :] ** 2).sum((-1, -2)) + 0.5 * (a**2).sum((-1, -2))) + (x[..., -1, :] ** 2).sum(-1)
    np.testing.assert_allclose(spent, run.cost, rtol=1e-5)
    assert not np.array_equal(x[0] - x[0, :1, :1], x[1])


def test_the_same_seed_gives_the_same_paths():
    policy = feedback()
    first, again, other = (uc.simulate(LQ, policy, START, paths=8, seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(first.state, again.state) and not np.array_equal(first.state, other.state)


def test_any_function_is_a_policy_and_bounds_hold():
    boxed = uc.ControlProblem(
        dim=1, control_dim=1, drift=lambda t, x, a: a, volatility=lambda t, x, a: 0.1 * jnp.abs(a)[:, None],
        running_cost=lambda t, x, a: 0.0 * a[0], terminal_cost=lambda x: x[0], horizon=1.0, steps=4,
        control_bounds=(-1.0, 2.0),
    )  # fmt: skip
    run = uc.simulate(boxed, lambda t, x: jnp.full(1, 100.0), [0.0], paths=50)
    assert (run.control == 2.0).all() and abs(run.cost.mean() - 2.0) < Z * 0.2 / np.sqrt(50)


def test_paths_that_explode_are_counted_not_dropped():
    wild = uc.ControlProblem(
        dim=1, control_dim=1, drift=lambda t, x, a: 1e3 * x**3, volatility=1.0, running_cost=lambda t, x, a: x[0],
        terminal_cost=lambda x: x[0], horizon=1.0, steps=10,
    )  # fmt: skip
    run = uc.simulate(wild, lambda t, x: jnp.zeros(1), [3.0], paths=7)
    assert run.invalid == 7 and run.cost.shape == (7,)


def test_stopping_by_a_rule():
    """Stop once the path is above 1 at a date: the dates and payoffs shown are those of the states shown."""
    problem = uc.StoppingProblem(
        process=uc.Brownian(2, 1.0), payoff=lambda t, x: x[0] + t, dates=[0.0, 0.5, 2.0], discount=0.1
    )
    run = uc.simulate(problem, lambda t, x: x[0] > 1.0, np.zeros(2), paths=5000)
    assert run.state.shape == (5000, 3, 2) and (run.state[:, 0] == 0).all()
    above = run.state[..., 0] > 1.0
    above[:, -1] = True
    np.testing.assert_array_equal(run.stopped, above.argmax(axis=1))
    t = run.time[run.stopped]
    paid = np.exp(-0.1 * t) * (run.state[np.arange(5000), run.stopped, 0] + t)
    np.testing.assert_allclose(run.payoff, paid, rtol=1e-5, atol=1e-6)
    spread = run.state[:, 1:].std(axis=0) / np.sqrt([[0.5], [2.0]])
    assert np.abs(spread - 1).max() < 2 * Z / np.sqrt(2 * 5000)


def test_stopping_a_stepped_process():
    """dX = -X dt + dW, stepped: its variance at T is (1 - exp(-2 T)) / 2, but for the step."""
    process = uc.Diffusion(1, drift=lambda t, x: -x, volatility=lambda t, x: jnp.ones((1, 1)))
    problem = uc.StoppingProblem(process=process, payoff=lambda t, x: x[0] ** 2, dates=[0.2, 1.0])
    run = uc.simulate(problem, lambda t, x: jnp.asarray(False), [0.0], paths=8000)
    exact = (1 - np.exp(-2.0)) / 2
    assert abs(run.payoff.mean() / exact - 1) < Z * np.sqrt(2 / 8000) + 2 / 64
    assert (run.stopped == 1).all()


@pytest.mark.parametrize(
    ("policy", "at", "error", "words"),
    [
        (lambda t, x: x, START, ValueError, r"policy\(t, x\) must return shape \(2,\)"),
        (3.0, START, TypeError, "policy must be solution.policy or a function"),
        (lambda t, x: x[:2], np.zeros(4), ValueError, "at must have shape"),
    ],
)
def test_bad_input_is_refused_in_words(policy, at, error, words):
    with pytest.raises(error, match=words):
        uc.simulate(LQ, policy, at)
    with pytest.raises(TypeError, match="ControlProblem"):
        uc.simulate(uc.zoo.hjb(dim=2).problem, policy, at)


def test_dataset_names_its_dimensions_or_says_what_is_missing():
    run = uc.simulate(LQ, feedback(), START, paths=4)
    try:
        import xarray  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match=r"uncurse\[io\]"):
            run.dataset()
        return
    data = run.dataset()
    assert data.state.dims == ("path", "time", "coordinate") and data.control.dims == ("path", "decision", "actuator")
    assert float(data.cost.mean("path")) == pytest.approx(run.cost.mean())
    assert float(data.state.sel(time=0.0).isel(path=0, coordinate=0)) == 1.0


# --- on disk


def test_policy_comes_back_with_the_problem(tmp_path):
    policy, path = feedback(), tmp_path / "answer.uncurse"
    solution_with(policy).save(path)
    x = np.random.default_rng(0).standard_normal((5, 3))
    loaded = uc.load(path, problem=LQ)
    assert np.array_equal(loaded.policy(0.25, x), policy(0.25, x)) and loaded.field is None
    with pytest.raises(RuntimeError, match=r"uc.load\(path, problem"):
        uc.load(path).policy(0.0, x)
    other = uc.ControlProblem(
        dim=3, control_dim=1, drift=lambda t, x, a: x, volatility=0.0, running_cost=lambda t, x, a: a @ a,
        terminal_cost=lambda x: x @ x, horizon=1.0, steps=12,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"policy saved in .* does not fit"):
        uc.load(path, problem=other)


def test_a_policy_of_ones_own_leaves_the_numbers_readable(tmp_path):
    class Mine(AbstractPolicy):
        @property
        def dim(self):
            return 3

        def control(self, t, x):
            return x[:2]

        def recipe(self):
            return {"class": "Mine"}

    solution_with(Mine()).save(tmp_path / "answer")
    loaded = uc.load(tmp_path / "answer", problem=LQ)
    assert loaded.value == 1.0
    with pytest.raises(RuntimeError, match="no class 'Mine' is known"):
        loaded.policy(0.0, START)


# --- elsewhere

ELSEWHERE = """
import sys
import jax, numpy as np
policy = jax.export.deserialize(open(sys.argv[1], "rb").read())
given = np.load(sys.argv[2])
for n in (1, 6):
    np.save(sys.argv[3] + f"{n}.npy", policy.call(given["t"][:n], given["x"][:n]))
assert "uncurse" not in sys.modules
"""


def test_exported_policy_runs_in_a_process_without_uncurse(tmp_path):
    pytest.importorskip("flatbuffers")
    rng = np.random.default_rng(0)
    t, x = rng.uniform(0, 1, 6).astype(np.float32), rng.standard_normal((6, 3)).astype(np.float32)
    policy = feedback()
    data = policy.export(tmp_path / "policy.bin")
    assert (tmp_path / "policy.bin").read_bytes() == data
    np.savez(tmp_path / "given.npz", t=t, x=x)
    files = (tmp_path / "policy.bin", tmp_path / "given.npz", tmp_path / "out")
    subprocess.run([sys.executable, "-c", ELSEWHERE, *map(str, files)], check=True, cwd=tmp_path, timeout=120)
    for n in (1, 6):
        np.testing.assert_allclose(np.load(tmp_path / f"out{n}.npy"), policy(t[:n], x[:n]), rtol=1e-6, atol=1e-6)
