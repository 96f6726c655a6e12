"""Rebuilds the shape of a saved surrogate or policy, for its arrays to be read into."""

from typing import Any

import numpy as np

from ..problems import ControlProblem, ParabolicPDE, Problem, StoppingProblem
from ._base import AbstractSurrogate
from ._continuation import StopRule
from ._continuation_features import Continuation
from ._continuation_network import ContinuationNetwork
from ._features import Features
from ._feedback import Feedback
from ._flowed import Flowed
from ._minimiser import Minimiser
from ._network import Network
from ._picard import Picard
from ._policy import AbstractPolicy, AbstractRule
from ._quadratic import Quadratic
from ._smoothed import Smoothed
from ._trained import Trained

Saved = AbstractSurrogate | AbstractPolicy | AbstractRule


class UnknownClassError(ValueError):
    """A saved file names a class that is not one of ours."""


def skeleton(problem: Problem, recipe: dict[str, Any]) -> Saved:
    """A surrogate or a policy of the class and sizes that `recipe` names, for this problem."""
    kind = recipe.get("class")
    if isinstance(problem, ParabolicPDE):
        return of_equation(problem, recipe)
    if isinstance(problem, ControlProblem) and problem.continuous:
        return _of_limit(problem, recipe)
    if isinstance(problem, StoppingProblem):
        return _of_stopping(problem, recipe)
    if isinstance(problem, ControlProblem) and kind in DECISIONS:
        return DECISIONS[kind](problem, recipe)
    raise _unknown(kind)


DECISIONS = {"Feedback": Feedback.skeleton, "Trained": Trained.skeleton, "Quadratic": Quadratic.skeleton}


CONTINUATIONS = {"Continuation": Continuation.skeleton, "ContinuationNetwork": ContinuationNetwork.skeleton}


def _of_stopping(problem: StoppingProblem, recipe: dict[str, Any]) -> Saved:
    kind = recipe.get("class")
    inside = recipe["continuation"] if kind == "StopRule" else recipe
    if inside.get("class") not in CONTINUATIONS:
        raise _unknown(inside.get("class"))
    continuation = CONTINUATIONS[inside["class"]](problem, inside)
    return StopRule(continuation) if kind == "StopRule" else continuation


def _of_limit(problem: ControlProblem, recipe: dict[str, Any]) -> Saved:
    """The value of a control problem in continuous time is that of an equation, and its policy a minimiser."""
    from .._continuous import Limit

    limit = Limit.of(problem, np.zeros((1, problem.dim)))
    if recipe.get("class") == "Minimiser":
        return Minimiser(of_equation(limit.equation(), recipe["field"]), limit.inverse, problem)
    return of_equation(limit.equation(), recipe)


def of_equation(problem: ParabolicPDE, recipe: dict[str, Any]) -> AbstractSurrogate:
    """The same for an equation."""
    rng = np.random.default_rng(0)
    kind = recipe.get("class")
    if kind == "Smoothed":
        return Smoothed.of(problem, int(recipe["pairs"]), rng)
    if kind == "Flowed":
        base = of_equation(problem, recipe["base"])
        assert isinstance(base, Smoothed)
        return Flowed.of(problem, base)
    if kind == "Features":
        return Features.skeleton(problem, of_equation(problem, recipe["base"]), recipe)
    if kind == "Network":
        smooth = of_equation(problem, recipe["frame"])
        return Network.skeleton(problem, smooth, of_equation(problem, recipe["base"]), recipe)
    if kind == "Picard":
        base = of_equation(problem, recipe["base"])
        assert isinstance(base, Smoothed)
        return Picard.skeleton(problem, base, recipe)
    raise _unknown(kind)


def _unknown(kind: Any) -> UnknownClassError:
    return UnknownClassError(f"no class {kind!r} is known here; was it written by another version, or is it your own?")
