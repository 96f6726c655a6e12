"""Stochastic control in discrete time: what a user states, and no numerics."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .. import _checks
from ._reference import Reference

Scalar = Float[Array, ""]
Point = Float[Array, " d"]
Control = Float[Array, " m"]


@dataclass(frozen=True, kw_only=True)
class CostBounds:
    """What is known of the costs, for a lower bound to stand on. What is left out is proved from them, or tested.

    Args:
        convex: running_cost is jointly convex in (x, a), and terminal_cost convex in x, along the directions that
            controls reach. Declared, it is trusted.
        modulus: m >= 0, or one number a control, such that running_cost - sum_i m_i a_i^2 / 2 is still convex.
    """

    convex: bool | None = None
    modulus: ArrayLike | None = None

    def __post_init__(self) -> None:
        if self.convex not in (None, True, False):
            raise TypeError(f"convex must be True, False or None; got {self.convex!r}")
        if self.modulus is None:
            return
        if (_checks.finite("modulus", _checks.as_array("modulus", self.modulus)) < 0).any():
            raise ValueError(f"modulus must not be negative; got {self.modulus!r}")


@dataclass(frozen=True, eq=False)
class ControlProblem:
    """Minimise E[ sum_k running_cost(t_k, x_k, a_k) h + terminal_cost(x_N) ] over a_k that may use x_0, ..., x_k, where

        x_{k+1} = x_k + drift(t_k, x_k, a_k) h + volatility sqrt(h) xi_k,    h = horizon / steps,    t_k = k h.

    The problem in discrete time is the problem (Bertsekas, Dynamic Programming and Optimal Control, 1.2). With
    `continuous`, the limit h -> 0 is what is asked for: the Hamilton-Jacobi-Bellman equation.

    Args:
        dim: number d of states.
        control_dim: number m of controls.
        drift: (t, x, a) -> (d,), for one point.
        volatility: a number, (d,) or (d, k), or a function (t, x) or (t, x, a) that returns one of these; it is not
            differentiated in shape: (d,) stands for d independent noises. 0 makes the problem deterministic.
        running_cost: (t, x, a) -> (), per unit of time.
        terminal_cost: (x,) -> ().
        horizon: T > 0.
        steps: N, the number of decisions.
        control_bounds: (low, high), numbers or (m,), between which each control must stay; None for no bounds.
        continuous: ask for the limit h -> 0; `steps` then only serves to simulate.
        bounds: what is known of the costs: see `CostBounds`.
        positions: triples of states that are a place in space, (x, y, z) of a vehicle each, for pictures; or None.
        reference: a known least cost, to be printed beside the answer.
        name: a label for reports.
        zoo: the name and the parameters of the zoo case that made this problem.

    Raises:
        TypeError, ValueError: an argument of the wrong kind, shape or sign; nothing is compiled to find out.
    """

    dim: int
    control_dim: int
    drift: Callable[[Scalar, Point, Control], Point]
    volatility: ArrayLike | Callable[..., Array]
    running_cost: Callable[[Scalar, Point, Control], Scalar]
    terminal_cost: Callable[[Point], Scalar]
    horizon: float
    steps: int
    control_bounds: tuple[ArrayLike, ArrayLike] | None = None
    continuous: bool = False
    bounds: CostBounds = field(default_factory=CostBounds)
    positions: tuple[tuple[int, int, int], ...] | None = None
    reference: Reference | None = None
    name: str = "control"
    zoo: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        keep = lambda name, value: object.__setattr__(self, name, value)     # noqa: E731
        keep("dim", _checks.positive_integer("dim", self.dim))
        keep("control_dim", _checks.positive_integer("control_dim", self.control_dim))
        keep("steps", _checks.positive_integer("steps", self.steps))
        keep("horizon", _checks.number("horizon", self.horizon, above=0.0))
        d, m = self.dim, self.control_dim
        point = [("t", ()), ("x", (d,)), ("a", (m,))]
        _checks.returns("drift", self.drift, point, (d,))
        _checks.returns("running_cost", self.running_cost, point, ())
        _checks.returns("terminal_cost", self.terminal_cost, [("x", (d,))], ())
        if callable(self.volatility):
            arguments = point if self.controls_noise else point[:2]
            _checks.returns("volatility", self.volatility, arguments, self._misshapen)
        else:
            sigma = _checks.finite("volatility", _checks.as_array("volatility", self.volatility))
            if wrong := self._misshapen(sigma.shape):
                raise ValueError(f"volatility must be {wrong}; got shape {sigma.shape}")
            keep("volatility", sigma)
        if self.control_bounds is not None:
            keep("control_bounds", _box(self.control_bounds, m))
        if self.positions is not None:
            keep("positions", _triples(self.positions, d))
        if not isinstance(self.bounds, CostBounds):
            raise TypeError(f"bounds must be a CostBounds; got {self.bounds!r}")

    @property
    def step(self) -> float:
        """h."""
        return self.horizon / self.steps

    @property
    def controls_noise(self) -> bool:
        """Whether the volatility depends on the control."""
        return callable(self.volatility) and len(inspect.signature(self.volatility).parameters) == 3

    def sigma(self, t: Scalar, x: Point, a: Control) -> Array:
        """The volatility at a point: (), (d,) or (d, k)."""
        if not callable(self.volatility):
            return jnp.asarray(self.volatility, dtype=x.dtype)
        return self.volatility(t, x, a) if self.controls_noise else self.volatility(t, x)

    def clip(self, a: Control) -> Control:
        """The nearest control within the bounds."""
        if self.control_bounds is None:
            return a
        low, high = self.control_bounds
        return jnp.clip(a, jnp.asarray(low, dtype=a.dtype), jnp.asarray(high, dtype=a.dtype))

    def _misshapen(self, shape: tuple) -> str | None:
        d = self.dim
        fits = shape in ((), (d,)) or (len(shape) == 2 and shape[0] == d and shape[1] >= 1)
        return None if fits else f"a number, or an array of shape ({d},) or ({d}, k)"


def _triples(positions: Any, d: int) -> tuple[tuple[int, int, int], ...]:
    """Indices (x, y, z) of states, one triple a vehicle."""
    array = np.asarray(positions)
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "iu" or not ((array >= 0) & (array < d)).all():
        raise ValueError(f"positions must be triples of indices of states, from 0 to {d - 1}; got {positions!r}")
    return tuple((int(x), int(y), int(z)) for x, y, z in array)


def _box(bounds: Any, m: int) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """(low, high) with m entries each; infinite entries leave a control free on that side."""
    try:
        low, high = bounds
    except (TypeError, ValueError) as error:
        raise TypeError(f"control_bounds must be a pair (low, high); got {bounds!r}") from error
    ends = []
    for name, end in (("low", low), ("high", high)):
        array = _checks.as_array(f"control_bounds[{name}]", end)
        if array.shape not in ((), (m,)) or np.isnan(array).any():
            raise ValueError(f"control_bounds[{name}] must be a number or have shape ({m},); got {end!r}")
        ends.append(np.broadcast_to(array, (m,)).copy())
    low, high = ends
    if (low > high).any():
        i = int(np.argmax(low > high))
        raise ValueError(f"control_bounds admit no control {i}: its low {low[i]:g} is above its high {high[i]:g}")
    return low, high
