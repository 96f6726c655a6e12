"""Named problems: `uc.zoo.hjb(dim=100)`, or by the name of the command line, `uc.zoo.get("hjb", dim=100)`."""

import difflib
import inspect
from collections.abc import Callable
from typing import Any

from ._case import Case as Case
from ._control import battery_fleet as battery_fleet
from ._control import constrained_lq as constrained_lq
from ._control import hjb_control as hjb_control
from ._control import lqg as lqg
from ._control import optimal_execution as optimal_execution
from ._finance import black_scholes_barenblatt as black_scholes_barenblatt
from ._finance import default_risk as default_risk
from ._finance import different_rates as different_rates
from ._gradient import burgers as burgers
from ._gradient import hjb as hjb
from ._gradient import quadratic_gradient as quadratic_gradient
from ._reaction import allen_cahn as allen_cahn
from ._reaction import reaction_diffusion as reaction_diffusion
from ._reaction import semilinear_heat as semilinear_heat
from ._reaction import sine_gordon as sine_gordon
from ._stopping import geometric_basket as geometric_basket
from ._stopping import max_call as max_call
from ._stopping import strangle_basket as strangle_basket
from ._vehicles import quadrotor as quadrotor
from ._vehicles import swarm as swarm


def _named(*functions: Callable[..., Case]) -> dict[str, Callable[..., Case]]:
    return {function.__name__.replace("_", "-"): function for function in functions}


equations = _named(
    hjb,
    allen_cahn,
    semilinear_heat,
    sine_gordon,
    quadratic_gradient,
    burgers,
    reaction_diffusion,
    black_scholes_barenblatt,
    default_risk,
    different_rates,
)
"""The cases that are a `ParabolicPDE`."""

control = _named(lqg, hjb_control, constrained_lq, optimal_execution, battery_fleet, quadrotor, swarm)
"""The cases that are a `ControlProblem`."""

stopping = _named(max_call, geometric_basket, strangle_basket)
"""The cases that are a `StoppingProblem`."""

cases: dict[str, Callable[..., Case]] = {**equations, **control, **stopping}
"""The name on the command line -> the function that makes the case; its signature says which parameters there are."""


def names() -> list[str]:
    """The names on the command line."""
    return list(cases)


def get(name: str, **parameters: Any) -> Case:
    """The case of that name; underscores do as well as hyphens.

    Raises:
        ValueError: no such name; the message holds the nearest one and all others.
        TypeError: a parameter that the case does not have.
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a string; got {name!r} of type {type(name).__name__}")
    key = name.strip().lower().replace("_", "-")
    if key not in cases:
        near = difflib.get_close_matches(key, cases, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"name must be a case of the zoo; got {name!r}.{hint} The zoo has: {', '.join(cases)}")
    signature = inspect.signature(cases[key])
    if unknown := [p for p in parameters if p not in signature.parameters]:
        options = ", ".join(f"{p.name} = {p.default}" for p in signature.parameters.values())
        raise TypeError(f"{key} has no parameter {unknown[0]!r}; it has {options}")
    return cases[key](**parameters)
