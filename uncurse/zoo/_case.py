"""A named problem with its point, its reference value and where that comes from."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from ..problems import ParabolicPDE, Problem, Reference, SourceBounds
from ..processes import AbstractProcess


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One problem of the zoo.

    Attributes:
        name: as on the command line.
        problem: the equation, or the decision to be taken.
        at: the point x (d,) at which, with t = 0, the reference holds.
        reference: u(0, at), or None where nobody knows it.
        origin: where the reference comes from, or what is known in its place.
        digits: significant digits of the reference that hold; 0 without one.
        parameters: what the case was made with.
    """

    name: str
    problem: Problem
    at: Float[np.ndarray, " d"]
    reference: float | None
    origin: str
    digits: int
    parameters: dict[str, Any] = field(default_factory=dict)


def digits(value: float, error: float) -> int:
    """Significant digits that hold, given an error; 12 at most, since rounding takes the rest."""
    relative = max(error / max(abs(value), 1e-300), 1e-12)
    return max(math.floor(-math.log10(relative) + 1e-9), 0)


def make(
    name: str,
    *,
    process: AbstractProcess,
    source: Callable[..., Array],
    terminal: Callable[[Array], Array],
    horizon: float,
    bounds: SourceBounds,
    at: Float[np.ndarray, " d"],
    reference: float | None,
    origin: str,
    digits: int = 0,
    error: float = 0.0,
    parameters: dict[str, Any],
) -> Case:
    """A case whose problem carries the same reference."""
    known = None if reference is None else Reference(reference, origin, digits, error, at)
    problem = ParabolicPDE(
        process=process, source=source, terminal=terminal, horizon=horizon, bounds=bounds, reference=known, name=name,
        zoo={"name": name, "parameters": parameters},
    )
    return Case(
        name=name, problem=problem, at=at, reference=reference, origin=origin, digits=digits if known else 0,
        parameters=parameters,
    )
