"""How a surrogate is found: one file a method. Methods propose; they never report a number."""

from typing import Any

from ..problems import Problem
from ._backward import AbstractBackward as AbstractBackward
from ._base import AbstractMethod as AbstractMethod
from ._base import Setting as Setting
from ._base import State as State
from .features import RandomFeatures as RandomFeatures
from .network import NetworkTraining as NetworkTraining
from .picard import MultilevelPicard as MultilevelPicard
from .smoothing import Smoothing as Smoothing
from .stopping import Backward as Backward
from .stopping_network import BackwardNetwork as BackwardNetwork

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


def backward_plan(method: "str | AbstractBackward | None") -> tuple[AbstractBackward, ...]:
    """The same for a stopping problem: a small regression on features, then networks; or one kind, as asked for."""
    features, network = Backward(128, 4096, 16), (BackwardNetwork(32, 16384, 16), BackwardNetwork(64, 32768, 32))
    if method is None:
        return features, *network
    if isinstance(method, AbstractBackward):
        return (method,)
    if method == "features":
        return features, Backward(256, 16384, 16), Backward(512, 32768, 32)
    if method == "network":
        return network
    names = "None, 'features', 'network', a methods.Backward or a methods.BackwardNetwork"
    raise ValueError(f"method of a stopping problem must be {names}; got {method!r}")


def skeleton(problem: Problem, recipe: dict[str, Any]) -> Any:
    """A surrogate or policy with the right shapes and no meaning yet, to read saved arrays into."""
    from ..surrogates import skeleton as build

    return build(problem, recipe)
