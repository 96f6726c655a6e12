"""Vehicles to be steered: a quadrotor with its full rigid-body dynamics, and a swarm that keeps its distance."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .. import _checks
from ..problems import ControlProblem
from ._case import Case

GRAVITY = 9.81          # m / s^2


def quadrotor(wind: float = 0.2) -> Case:
    """A flight of 5 m in 3 s, from hover to hover, with wind; 12 states, 4 rotor thrusts, 120 decisions.

    The state is position p (m), velocity v (m/s), both in the world's frame, attitude s, and body rates w (rad/s). The
    attitude is held as modified Rodrigues parameters, s = e tan(angle / 4) for a rotation by `angle` about the unit
    vector e, which have no singularity short of a full turn:

        p' = v,   m v' = -m g e3 + R(s) e3 sum_i f_i - c m v,   J w' = torque(f) - w x J w,
        s' = ((1 - |s|^2) w + 2 s x w + 2 s (s.w)) / 4,
        R(s) = I + (8 [s]^2 + 4 (1 - |s|^2) [s]) / (1 + |s|^2)^2,   [s] y = s x y

    (Schaub and Junkins, Analytical Mechanics of Space Systems, 3.5 and 4.2; the rotors as in Mahony, Kumar and Corke
    2012, IEEE Robot. Autom. Mag. 19, "Multirotor aerial vehicles"). Rotors sit on arms of 0.17 m along +x, +y, -x, -y
    and turn in alternating senses; a thrust f_i in [0, 5] N also gives a torque of 0.016 m f_i about the vertical.

    m = 0.8 kg, J = diag(5, 5, 9) 10^-3 kg m^2, c = 0.1 / s. Gusts shake v by `wind` m/s and w by `wind`/2 rad/s in a
    second. A run succeeds if it ends within 0.3 m of its goal and 10 degrees of level, yaw included.

    Args:
        wind: of the gusts, at least 0.
    """
    wind = _checks.number("wind", wind, at_least=0.0)
    mass, arm, swirl, drag, most = 0.8, 0.17, 0.016, 0.1, 5.0
    inertia = np.array([5e-3, 5e-3, 9e-3])
    start, goal = np.zeros(12), np.array([4.0, 2.4, 1.8])       # |goal| = 5 m
    hover = mass * GRAVITY / 4

    def drift(t: Array, x: Array, a: Array) -> Array:
        v, s, w = x[3:6], x[6:9], x[9:12]
        lift = rotated(s, jnp.array([0.0, 0.0, 1.0])) * jnp.sum(a) / mass
        torque = jnp.stack([arm * (a[1] - a[3]), arm * (a[2] - a[0]), swirl * (a[0] - a[1] + a[2] - a[3])])
        spin = (torque - jnp.cross(w, inertia * w)) / inertia
        turn = ((1 - s @ s) * w + 2 * jnp.cross(s, w) + 2 * s * (s @ w)) / 4
        return jnp.concatenate([v, lift - drag * v - jnp.array([0.0, 0.0, GRAVITY]), turn, spin])

    def running_cost(t: Array, x: Array, a: Array) -> Array:
        s, w = x[6:9], x[9:12]
        return 0.1 * jnp.sum((a - hover) ** 2) + 2.0 * s @ s + 0.05 * w @ w

    def terminal_cost(x: Array) -> Array:
        off, v, s, w = x[:3] - goal, x[3:6], x[6:9], x[9:12]
        return 20.0 * off @ off + 5.0 * v @ v + 200.0 * s @ s + 0.5 * w @ w

    def success(states: Float[Array, "times 12"]) -> Bool[Array, ""]:
        end = states[-1]
        angle = 4 * jnp.arctan(jnp.linalg.norm(end[6:9]))
        return (jnp.linalg.norm(end[:3] - goal) <= 0.3) & (angle <= math.radians(10.0))

    volatility = np.repeat([0.0, wind, 0.0, wind / 2], 3)
    problem = ControlProblem(
        dim=12, control_dim=4, drift=drift, volatility=volatility, running_cost=running_cost,
        terminal_cost=terminal_cost, horizon=3.0, steps=120, control_bounds=(0.0, most), positions=((0, 1, 2),),
        name="quadrotor", zoo={"name": "quadrotor", "parameters": {"wind": wind}},
    )
    return Case(
        name="quadrotor", problem=problem, at=start, reference=None, digits=0, parameters={"wind": wind},
        origin="no reference is known; a run succeeds within 0.3 m of the goal and 10 degrees of level",
        success=success,
    )


def rotated(s: Float[Array, "3"], y: Float[Array, "3"]) -> Float[Array, "3"]:
    """R(s) y, for modified Rodrigues parameters s."""
    q = s @ s
    once = jnp.cross(s, y)
    return y + (8 * jnp.cross(s, once) + 4 * (1 - q) * once) / (1 + q) ** 2


def swarm(vehicles: int = 12, wind: float = 0.1) -> Case:
    """Vehicles cross a field of obstacles to the other side, and keep clear of it and of each other; 6 states each.

    Each is a double integrator, p'' = a with |a_i| <= 4 m/s^2 in each direction, shaken by gusts of `wind` m/s in a
    second, for 6 s and 120 decisions. They start on a ring of radius 5 m, 2 m apart in height by turns, and go to the
    point opposite, turned by 20 degrees so that no two meet head on. Two pillars (radius 0.6 m) and a ball (radius
    0.8 m) are in the way. The cost is

        int sum_i |a_i|^2 / 20 + 50 sum over pairs and obstacles of max(0, 1 - distance^2 / (r + margin)^2)^2 dt
        + sum_i 20 |p_i - goal_i|^2 + 5 |v_i|^2,

    with the safety radius r = 0.5 m between vehicles, and the obstacle's own radius; margins are 0.5 m. (The setting is
    that of high-dimensional optimal control as in Onken et al. 2023, IEEE Trans. Control Syst. Technol. 31, with
    constants of our own.) A run succeeds if nobody is ever closer than 0.5 m to another or inside an obstacle, and all
    end within 0.5 m of their goals.

    Args:
        vehicles: how many, at least 2.
        wind: of the gusts, at least 0.
    """
    vehicles = _checks.positive_integer("vehicles", vehicles)
    wind = _checks.number("wind", wind, at_least=0.0)
    start, goal = ring(vehicles)
    safe, margin = 0.5, 0.5
    pillars, pillar = np.array([[2.0, 0.5], [-1.5, -1.5]]), 0.6      # centres (x, y) in m, and radius
    ball, ball_radius = np.array([-0.5, 2.0, 1.0]), 0.8
    i, j = np.triu_indices(vehicles, 1)

    def split(x: Float[Array, " d"]) -> tuple[Array, Array]:
        return x.reshape(vehicles, 6)[:, :3], x.reshape(vehicles, 6)[:, 3:]

    def squares(p: Float[Array, "n 3"]) -> tuple[Array, Array, Array]:
        """Squared distances: of pairs, to the axes of the pillars, to the centre of the ball."""
        pairs = jnp.sum((p[i] - p[j]) ** 2, axis=-1)
        return pairs, jnp.sum((p[:, None, :2] - pillars) ** 2, axis=-1), jnp.sum((p - ball) ** 2, axis=-1)

    def running_cost(t: Array, x: Array, a: Array) -> Array:
        radii = (safe, pillar, ball_radius)
        near = [jnp.maximum(1 - q / (r + margin) ** 2, 0.0) for q, r in zip(squares(split(x)[0]), radii, strict=True)]
        return 0.05 * a @ a + 50.0 * sum(jnp.sum(n**2) for n in near)

    def terminal_cost(x: Array) -> Array:
        p, v = split(x)
        return 20.0 * jnp.sum((p - goal) ** 2) + 5.0 * jnp.sum(v**2)

    def success(states: Float[Array, "times d"]) -> Bool[Array, ""]:
        p = states.reshape(-1, vehicles, 6)[..., :3]
        pairs, axes, centre = jax.vmap(squares)(p)
        clear = (pairs >= safe**2).all() & (axes >= pillar**2).all() & (centre >= ball_radius**2).all()
        return clear & (jnp.sum((p[-1] - goal) ** 2, axis=-1) <= 0.5**2).all()

    parameters = {"vehicles": vehicles, "wind": wind}
    problem = ControlProblem(
        dim=6 * vehicles, control_dim=3 * vehicles, volatility=np.tile([0.0] * 3 + [wind] * 3, vehicles),
        drift=lambda t, x, a: jnp.concatenate([split(x)[1], a.reshape(vehicles, 3)], axis=1).ravel(),
        running_cost=running_cost, terminal_cost=terminal_cost, horizon=6.0, steps=120, control_bounds=(-4.0, 4.0),
        positions=tuple((6 * k, 6 * k + 1, 6 * k + 2) for k in range(vehicles)), name="swarm",
        zoo={"name": "swarm", "parameters": parameters},
    )  # fmt: skip
    at = np.concatenate([start, np.zeros_like(start)], axis=1).ravel()
    return Case(
        name="swarm", problem=problem, at=at, reference=None, digits=0, parameters=parameters, success=success,
        origin="no reference is known; a run succeeds if all arrive within 0.5 m and nobody comes too close",
    )


def ring(vehicles: int) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
    """Starts and goals: the goal is opposite, 20 degrees on, and half-way between the heights."""
    angle = 2 * math.pi * np.arange(vehicles) / vehicles
    height = np.where(np.arange(vehicles) % 2 == 0, 0.0, 2.0)
    start = np.stack([5 * np.cos(angle), 5 * np.sin(angle), height], axis=1)
    beyond = angle + math.pi + math.radians(20.0)
    return start, np.stack([5 * np.cos(beyond), 5 * np.sin(beyond), 2.0 - height], axis=1)
