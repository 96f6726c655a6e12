"""How a surrogate is found: one file a method. Methods propose; they never report a number."""

from typing import Any

from ..problems import Problem
from ._base import AbstractMethod as AbstractMethod
from ._base import Setting as Setting
from ._base import State as State
from .features import RandomFeatures as RandomFeatures
from .network import NetworkTraining as NetworkTraining
from .picard import MultilevelPicard as MultilevelPicard
from .smoothing import Smoothing as Smoothing
from .stopping import Backward as Backward
from .stopping import backward_plan as backward_plan

METHODS: dict[str, type[AbstractMethod]] = {
    method.name: method for method in (Smoothing, RandomFeatures, NetworkTraining, MultilevelPicard)
}


def plan(method: str | AbstractMethod | None) -> list[AbstractMethod]:
    """The methods to try, in order: all that the tolerance loop may use, or the one asked for."""
    if method is None:
        return [Smoothing(), RandomFeatures(), NetworkTraining()]
    if isinstance(method, AbstractMethod):
        return [method]
    if isinstance(method, str) and method in METHODS:
        return [METHODS[method]()]
    raise ValueError(f"method must be None, a method object, or one of {', '.join(map(repr, METHODS))}; got {method!r}")


def skeleton(problem: Problem, recipe: dict[str, Any]) -> Any:
    """A surrogate or policy with the right shapes and no meaning yet, to read saved arrays into."""
    from ..surrogates import skeleton as build

    return build(problem, recipe)
