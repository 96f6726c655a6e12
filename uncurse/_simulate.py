"""simulate(): a decision problem's paths under a policy, as labelled arrays; and how often they succeed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from . import _checks
from ._devices import full_precision
from ._solution import Estimate
from .problems import ControlProblem, StoppingProblem
from .statistics import Purpose, draw_bits, normal, stream

if TYPE_CHECKING:
    from .zoo import Case

EULER = 64      # steps to the horizon, at least, of a process that cannot be sampled exactly


@dataclass(frozen=True, eq=False)
class Simulation:
    """Paths of a control problem under a policy; `*points` is (n,) where n starting points were given, else nothing."""

    time: Float[np.ndarray, " steps+1"]
    state: Float[np.ndarray, "*points paths steps+1 d"]
    control: Float[np.ndarray, "*points paths steps m"]
    cost: Float[np.ndarray, "*points paths"]
    invalid: int                                        # paths that are not finite: counted, never dropped

    def dataset(self) -> Any:
        """The same with its dimensions by name; needs xarray: pip install 'uncurse[io]'."""
        lead = ("point",) * (self.cost.ndim - 1)
        arrays = {
            "state": ((*lead, "path", "time", "coordinate"), self.state),
            "control": ((*lead, "path", "decision", "actuator"), self.control),
            "cost": ((*lead, "path"), self.cost),
        }
        return _dataset(arrays, {"time": self.time, "decision": self.time[:-1]}, self.invalid)


@dataclass(frozen=True, eq=False)
class StoppedSimulation:
    """Paths of a stopping problem at its dates, and where a rule stops them."""

    time: Float[np.ndarray, " dates"]
    state: Float[np.ndarray, "*points paths dates d"]   # goes on after the rule has stopped
    stopped: Int[np.ndarray, "*points paths"]           # the number of the date, from 0
    payoff: Float[np.ndarray, "*points paths"]          # discounted to t = 0
    invalid: int                                        # paths that are not finite: counted, never dropped

    def dataset(self) -> Any:
        """The same with its dimensions by name; needs xarray: pip install 'uncurse[io]'."""
        lead = ("point",) * (self.payoff.ndim - 1)
        arrays = {
            "state": ((*lead, "path", "time", "coordinate"), self.state),
            "stopped": ((*lead, "path"), self.stopped),
            "payoff": ((*lead, "path"), self.payoff),
        }
        return _dataset(arrays, {"time": self.time}, self.invalid)


def simulate(
    problem: ControlProblem | StoppingProblem, policy: Callable[..., Any], at: ArrayLike, *, paths: int = 1000,
    seed: int = 0,
) -> Simulation | StoppedSimulation:
    """Run a policy on fresh paths.

    Args:
        problem: a `ControlProblem` or a `StoppingProblem`.
        policy: `solution.policy`, or any function (t, x) -> control (m,), or (t, x) -> stop (), for one point, written
            with jax.numpy. A control beyond the problem's bounds is clipped, as the problem demands.
        at: where the paths start at t = 0: (d,) or (n, d).
        paths: for each starting point.
        seed: of the noise; the noise is not that of any certificate or training.

    Returns:
        A `Simulation` or a `StoppedSimulation`, in single precision; costs are added up in double precision.
    """
    if not isinstance(problem, ControlProblem | StoppingProblem):
        raise TypeError(f"problem must be a uc.ControlProblem or a uc.StoppingProblem; got {type(problem).__name__}")
    _checks.positive_integer("paths", paths)
    points = _checks.points(at, problem.dim)
    starts = np.atleast_2d(points).astype(np.float32)
    function = as_function(problem, policy)
    controlled = isinstance(problem, ControlProblem)
    run, words, steps = _controlled(problem, function) if controlled else _stopped(problem, function)
    parts = [[] for _ in starts]
    for i, start in enumerate(starts):
        for chunk in _chunks(run, words, steps, problem.dim, start, paths, (seed, i)):
            parts[i].append(tuple(np.asarray(a) for a in chunk))
    whole = [np.stack([np.concatenate([c[k] for c in chunks]) for chunks in parts]) for k in range(len(parts[0][0]))]
    state, second, third = whole if points.ndim == 2 else (a[0] for a in whole)
    if isinstance(problem, ControlProblem):
        cost = third.sum(axis=-1, dtype=np.float64)
        invalid = int(np.sum(~(np.isfinite(cost) & np.isfinite(state).all(axis=(-1, -2)))))
        return Simulation(np.arange(problem.steps + 1) * problem.step, state, second, cost, invalid)
    invalid = int(np.sum(~(np.isfinite(third) & np.isfinite(state).all(axis=(-1, -2)))))
    return StoppedSimulation(np.asarray(problem.dates), state, second, third.astype(np.float64), invalid)


def success_rate(
    case: "Case", policy: Callable[..., Any], *, paths: int = 10_000, seed: int = 0, confidence: float = 0.99
) -> Estimate:
    """The part of fresh runs that pass the case's own test, with an exact binomial interval (Clopper and Pearson 1934).

    A run that is not finite has failed. Memory does not grow with `paths`.
    """
    from scipy.special import betaincinv

    if case.success is None or not isinstance(case.problem, ControlProblem):
        raise ValueError(f"the case {case.name!r} says nothing of success")
    _checks.positive_integer("paths", paths)
    problem, passed = case.problem, 0
    run, words, steps = _controlled(problem, as_function(problem, policy))
    judge = jax.jit(jax.vmap(case.success))
    for states, _, costs in _chunks(run, words, steps, problem.dim, case.at.astype(np.float32), paths, (seed, 0)):
        finite = np.isfinite(np.asarray(states)).all(axis=(1, 2)) & np.isfinite(np.asarray(costs)).all(axis=1)
        with full_precision():
            passed += int(np.sum(np.asarray(judge(states)) & finite))
    tail, failed = (1 - confidence) / 2, paths - passed
    low = 0.0 if passed == 0 else float(betaincinv(passed, failed + 1, tail))
    high = 1.0 if failed == 0 else float(betaincinv(passed + 1, failed, 1 - tail))
    return Estimate(np.asarray(passed / paths), np.asarray(low), np.asarray(high))


def as_function(problem: ControlProblem | StoppingProblem, policy: Any) -> Callable[[Array, Array], Array]:
    """The policy for one point, its shape checked."""
    from .surrogates import AbstractPolicy, AbstractRule

    if isinstance(policy, AbstractPolicy | AbstractRule):
        function: Any = policy.decide
    elif callable(policy):
        function = policy
    else:
        raise TypeError(f"policy must be solution.policy or a function (t, x); got {type(policy).__name__}")
    point = [("t", ()), ("x", (problem.dim,))]
    if isinstance(problem, ControlProblem):
        _checks.returns("policy", function, point, (problem.control_dim,), derivative=False)
        return function
    _checks.returns("policy", lambda t, x: 1.0 * jnp.asarray(function(t, x)), point, (), derivative=False)
    return function


Runner = Callable[[Array, Array], tuple[Array, ...]]


def _chunks(
    run: Runner, words: int, steps: int, dim: int, start: Float[np.ndarray, " d"], paths: int, path: tuple[int, int]
) -> Iterator[tuple[Array, ...]]:
    """Whole paths, some at a time."""
    from .certificates import rows_for

    rows = min(rows_for(max(dim, words), steps, 2**23), 2 ** int(np.ceil(np.log2(paths))))
    key = stream(path[0], Purpose.simulation, path[1])
    for first in range(0, paths, rows):
        bits = draw_bits(key, (first,), (steps, rows, words))
        with full_precision():
            found = run(jnp.asarray(start), bits)
        yield tuple(a[: paths - first] for a in found)


def _controlled(problem: ControlProblem, policy: Callable[[Array, Array], Array]) -> tuple[Runner, int, int]:
    """start (d,), bits (steps, rows, words) -> states, controls, costs of every step and the end; words; steps."""
    from .certificates._controlled import move, noise_dim

    h = problem.step

    def one(x: Array, t: Array, bits: Array) -> tuple[Array, Array, Array]:
        a = problem.clip(policy(t, x))
        after, *_ = move(problem, t, x, a, normal(bits))
        return after.astype(x.dtype), a.astype(x.dtype), problem.running_cost(t, x, a) * h

    @jax.jit
    def run(start: Array, bits: Array) -> tuple[Array, Array, Array]:
        def body(x: Array, inputs: tuple) -> tuple[Array, tuple]:
            moved, a, cost = jax.vmap(one, in_axes=(0, None, 0))(x, *inputs)
            return moved, (x, a, cost)

        times = jnp.arange(problem.steps, dtype=start.dtype) * h
        end, (states, controls, costs) = jax.lax.scan(body, _rows(start, bits), (times, bits))
        states = jnp.concatenate([states, end[None]])
        costs = jnp.concatenate([costs, jax.vmap(problem.terminal_cost)(end)[None]])
        return states.swapaxes(0, 1), controls.swapaxes(0, 1), costs.T

    return run, noise_dim(problem), problem.steps


def _stopped(problem: StoppingProblem, rule: Callable[[Array, Array], Array]) -> tuple[Runner, int, int]:
    """start (d,), bits (steps, rows, words) -> states at the dates, number of the date stopped at, payoff."""
    process, dates = problem.process, np.asarray(problem.dates)
    spans = np.diff(dates, prepend=0.0)
    parts = np.ones(len(dates), int) if process.exact else np.ceil(spans / dates[-1] * EULER - 1e-9).astype(int)
    parts = np.where(spans > 0, np.maximum(parts, 1), 0)
    lengths = np.repeat(spans / np.maximum(parts, 1), parts)
    times = np.cumsum(lengths) - lengths
    visited = np.cumsum(parts)          # the number of the state, from that at t = 0 on, at each date

    @partial(jax.vmap, in_axes=(0, None, None, 0))
    def move(x: Array, t: Array, dt: Array, bits: Array) -> Array:
        return process.step(t, x, dt, normal(bits), jnp.zeros_like(x))[0]

    @jax.jit
    def run(start: Array, bits: Array) -> tuple[Array, Array, Array]:
        def body(x: Array, inputs: tuple) -> tuple[Array, Array]:
            x = move(x, *inputs).astype(x.dtype)
            return x, x

        first = _rows(start, bits)
        steps = tuple(jnp.asarray(a, dtype=start.dtype) for a in (times, lengths))
        _, states = jax.lax.scan(body, first, (*steps, bits))
        states = jnp.concatenate([first[None], states])[visited].swapaxes(0, 1)
        when = jnp.asarray(dates, dtype=start.dtype)
        over = jax.vmap(jax.vmap(lambda t, x: jnp.asarray(rule(t, x), dtype=bool)), in_axes=(None, 0))
        stops: Bool[Array, "rows dates"] = over(when, states).at[:, -1].set(True)
        index = jnp.argmax(stops, axis=1)
        end = jnp.take_along_axis(states, index[:, None, None], axis=1)[:, 0]
        paid = jax.vmap(problem.payoff)(when[index], end) * jnp.exp(-problem.discount * when[index])
        return states, index, paid

    return run, process.normals, len(times)


def _rows(start: Float[Array, " d"], bits: Array) -> Float[Array, "rows d"]:
    return jnp.broadcast_to(start, (bits.shape[1], *start.shape))


def _dataset(arrays: dict[str, tuple], coordinates: dict[str, np.ndarray], invalid: int) -> Any:
    try:
        import xarray  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError("labelled arrays need xarray: pip install 'uncurse[io]'") from error
    return xarray.Dataset(arrays, coords=coordinates, attrs={"invalid": invalid})
