"""Networks for the value of going on: what training finds, and whole solves whose answers are known."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from test_stopping import PUT, QUARTERS, put, solve

import uncurse as uc
from uncurse import Guarantee, Result, zoo
from uncurse.classical import bermudan
from uncurse.methods import Backward, BackwardNetwork, backward_plan, stopping_network


def residual(layer, u, goal):
    """What is left of the goal by least squares on the inputs and the hidden units, in float64."""
    u, layer = np.asarray(u, dtype=np.float64), np.asarray(layer, dtype=np.float64)
    psi = np.concatenate([u, np.tanh(u @ layer.T)], axis=1)
    return float(np.std(goal - psi @ np.linalg.lstsq(psi, goal, rcond=None)[0]))


def inputs_and_goal(seed):
    """A goal that two hidden units make, and no random ones do."""
    rng = np.random.default_rng(seed)
    u = np.concatenate([np.ones((4096, 1)), rng.standard_normal((4096, 5))], axis=1)
    goal = np.tanh(u @ [0.5, 2.0, -1.0, 0.0, 0.5, 0.0]) + 0.5 * np.tanh(u @ [-1.0, 0.0, 1.0, 1.0, 0.0, -1.0])
    return jnp.asarray(u, dtype=np.float32), jnp.asarray(goal, dtype=np.float32)


def test_training_finds_hidden_units_that_random_ones_are_not():
    u, goal = inputs_and_goal(0)
    starts = jnp.asarray(np.random.default_rng(1).standard_normal((2, 6, 6)), dtype=np.float32)
    layer = stopping_network._train(starts, u, goal, 6, 400)
    before = min(residual(start, u, goal) for start in starts)
    assert residual(layer, u, goal) < 0.2 * before


def test_training_that_does_harm_is_undone(monkeypatch):
    """Steps as large as these saturate all units: the better of the two starts comes back as it was."""
    monkeypatch.setattr(stopping_network, "RATE", 1e3)
    u, goal = inputs_and_goal(2)
    starts = jnp.asarray(np.random.default_rng(3).standard_normal((2, 6, 6)), dtype=np.float32)
    layer = np.asarray(stopping_network._train(starts, u, goal, 6, 5))
    better = int(np.argmin([residual(start, u, goal) for start in starts]))
    np.testing.assert_array_equal(layer, np.asarray(starts[better]))


def test_noise_is_not_learnt():
    """Nothing to be found: the units stay what they were, though training would fit the noise."""
    u = inputs_and_goal(4)[0][:512]
    goal = jnp.asarray(np.random.default_rng(5).standard_normal(512), dtype=np.float32)
    starts = jnp.asarray(np.random.default_rng(6).standard_normal((2, 6, 6)), dtype=np.float32)
    layer = np.asarray(stopping_network._train(starts, u, goal, 6, 300))
    assert any((layer == np.asarray(start)).all() for start in starts)


def test_networks_on_two_assets(tmp_path):
    """`bermudan_plane`: 13.90187, which does not need the network to be right, but the interval must hold it."""
    case = zoo.max_call(dim=2)
    solution = solve(case.problem, case.at, rtol=5e-3, method="network")
    assert solution.result is Result.tolerance_met and solution.guarantee is Guarantee.two_sided
    assert solution.low <= 13.90187 <= solution.high and solution.stats["method"] == "network"
    solution.save(tmp_path / "network")
    again, far = uc.load(tmp_path / "network"), np.array([[180.0, 100.0], [101.0, 100.0]])
    assert again.policy(1.0, far).tolist() == solution.policy(1.0, far).tolist() == [True, False]
    assert float(again.field(0.3, case.at)) == float(solution.field(0.3, case.at))
    exported = jax.export.deserialize(bytearray(solution.policy.export()))
    assert exported.call(np.float32([1.0, 1.0]), far.astype(np.float32)).tolist() == [True, False]


def test_a_network_by_its_object_on_assets_that_differ():
    """One asset of two matters: the network sees all coordinates here."""
    process = uc.GeometricBrownian(2, 0.05, [0.3, 0.1])
    problem = uc.StoppingProblem(process, lambda t, x: jnp.maximum(100.0 - x[0], 0.0), QUARTERS, discount=0.05)
    small = BackwardNetwork(width=8, paths=2048, points=8, iterations=50)
    first, second = (solve(problem, [100.0, 70.0], rtol=1e-2, method=small) for _ in range(2))
    assert first.low <= bermudan.solve(put, spot=100.0, dates=QUARTERS, **PUT).value <= first.high
    assert (first.low, first.high) == (second.low, second.high)


def test_what_is_tried_in_which_order():
    assert [m.name for m in backward_plan(None)][:2] == ["features", "network"]
    for name in ("features", "network"):
        assert {m.name for m in backward_plan(name)} == {name}
    assert backward_plan(Backward(8)) == (Backward(8),)
