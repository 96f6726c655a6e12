"""Do the vehicles move as rigid bodies do, and does feedback around a path bring them home through the wind?"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uncurse as uc
from uncurse.methods.riccati import linearised
from uncurse.surrogates import Feedback
from uncurse.zoo._vehicles import ring, rotated


def feedback(case: uc.zoo.Case, iterations: int = 100) -> Feedback:
    nominal = linearised(case.problem, case.at, iterations=iterations)
    return Feedback.of(case.problem, nominal.states, nominal.controls, nominal.gains)


# --- the quadrotor


def test_attitude_turns_as_its_rates_say():
    """R(s) is a rotation by 4 arctan |s|, and R' = R [w] where s' is the drift's."""
    problem, rng = uc.zoo.quadrotor().problem, np.random.default_rng(0)
    matrix = lambda s: jax.vmap(lambda e: rotated(s, e))(jnp.eye(3)).T      # noqa: E731
    for _ in range(3):
        s, w = (jnp.asarray(rng.standard_normal(3) * c, dtype=jnp.float32) for c in (0.4, 1.0))
        R = matrix(s)
        np.testing.assert_allclose(R.T @ R, np.eye(3), atol=1e-5)
        angle = 4 * np.arctan(np.linalg.norm(s))
        assert np.trace(R) == pytest.approx(1 + 2 * np.cos(angle), abs=1e-5)
        x = jnp.zeros(12).at[6:9].set(s).at[9:].set(w)
        turn = problem.drift(jnp.float32(0), x, jnp.zeros(4))[6:9]
        _, moved = jax.jvp(matrix, (s,), (turn,))
        cross = np.array([[0, -w[2], w[1]], [w[2], 0, -w[0]], [-w[1], w[0], 0]])
        np.testing.assert_allclose(moved, R @ cross, atol=1e-5)


def test_hover_is_at_rest_and_free_spin_keeps_its_momentum():
    problem = uc.zoo.quadrotor().problem
    still = problem.drift(jnp.float32(0), jnp.zeros(12), jnp.full(4, 0.8 * 9.81 / 4))
    np.testing.assert_allclose(still, 0.0, atol=1e-6)
    inertia, w = np.array([5e-3, 5e-3, 9e-3]), np.array([1.0, -2.0, 3.0], dtype=np.float32)
    x = jnp.zeros(12).at[9:].set(w)
    spin = np.asarray(problem.drift(jnp.float32(0), x, jnp.full(4, 1.0))[9:])      # equal thrusts give no torque
    np.testing.assert_allclose(inertia * spin + np.cross(w, inertia * w), 0.0, atol=1e-7)
    assert abs(w @ (inertia * spin)) < 1e-6         # nor do they change the energy of the spin
    one = np.asarray(problem.drift(jnp.float32(0), jnp.zeros(12), jnp.asarray([0.0, 1.0, 0.0, 0.0]))[9:])
    np.testing.assert_allclose(one, [0.17 / 5e-3, 0.0, -0.016 / 9e-3], rtol=1e-5)


def test_quadrotor_arrives():
    """At least 99 % of runs within 0.3 m and 10 degrees, at 99 % confidence: 1000 runs, of which 2 may fail."""
    case = uc.zoo.quadrotor()
    assert np.linalg.norm(np.array([4.0, 2.4, 1.8])) == pytest.approx(5.0)
    policy = feedback(case)
    rate = uc.success_rate(case, policy, paths=1000)
    assert rate.low > 0.99 and rate.value <= rate.high == 1.0
    run = uc.simulate(case.problem, policy, case.at, paths=50)
    assert run.control.min() >= 0.0 and run.control.max() <= 5.0 and run.invalid == 0


def test_quadrotor_without_feedback_does_not_arrive():
    """The test of success can fail: the wind carries away what only repeats the controls of the calm path."""
    case = uc.zoo.quadrotor()
    nominal = linearised(case.problem, case.at)
    blind = Feedback.of(case.problem, nominal.states, nominal.controls, 0 * nominal.gains)
    assert uc.success_rate(case, blind, paths=200).high < 0.5
    hover = uc.success_rate(case, lambda t, x: jnp.full(4, 0.8 * 9.81 / 4), paths=200)
    assert hover.value == 0.0


# --- the swarm


def test_swarm_judges_distances_and_arrivals():
    case = uc.zoo.swarm(vehicles=3)
    start, goal = ring(3)
    share = np.linspace(0, 1, 121)[:, None]
    angle = 2 * np.pi * np.arange(3) / 3 + share * np.radians(200.0)        # all fly around, one behind the other
    height = start[:, 2] + share * (goal - start)[:, 2]
    away = np.stack([5 * np.cos(angle), 5 * np.sin(angle), height], axis=-1)

    def path(p):
        return np.concatenate([p, np.zeros_like(p)], axis=-1).reshape(121, 18).astype(np.float32)

    assert case.success(path(away))
    late = away + share[..., None] * np.array([0.6, 0.0, 0.0])
    assert not case.success(path(late))
    met = away.copy()
    met[60, 1] = met[60, 0] + 0.4
    met[60, 1, 1:] = met[60, 0, 1:]
    assert not case.success(path(met))
    through = away.copy()
    through[60, 0] = [-0.5, 2.0, 1.0]       # the centre of the ball
    assert not case.success(path(through))


def test_small_swarm_crosses():
    case = uc.zoo.swarm(vehicles=4)
    assert case.problem.dim == 24 and case.problem.positions[1] == (6, 7, 8)
    rate = uc.success_rate(case, feedback(case, iterations=40), paths=1000)
    assert rate.low > 0.99


def test_success_rate_is_an_exact_binomial_interval():
    case = uc.zoo.quadrotor()
    nobody = uc.success_rate(case, lambda t, x: jnp.zeros(4), paths=50)
    assert nobody.low == 0.0 and nobody.high == pytest.approx(1 - 0.005 ** (1 / 50))
    with pytest.raises(ValueError, match="says nothing of success"):
        uc.success_rate(uc.zoo.hjb(dim=2), lambda t, x: x)


def test_bad_parameters_are_refused():
    with pytest.raises(ValueError, match="wind must be at least 0"):
        uc.zoo.quadrotor(wind=-1.0)
    with pytest.raises(TypeError, match="vehicles must be a whole number"):
        uc.zoo.swarm(vehicles=2.5)
