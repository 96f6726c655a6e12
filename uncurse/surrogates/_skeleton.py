"""Rebuilds the shape of a saved surrogate, for its arrays to be read into."""

from typing import Any

import numpy as np

from ..problems import ParabolicPDE, Problem, StoppingProblem
from ._base import AbstractSurrogate
from ._continuation import Continuation
from ._features import Features
from ._network import Network
from ._picard import Picard
from ._smoothed import Smoothed


def skeleton(problem: Problem, recipe: dict[str, Any]) -> AbstractSurrogate:
    """A surrogate of the class and sizes that `recipe` names, for this problem."""
    rng = np.random.default_rng(0)
    kind = recipe.get("class")
    if isinstance(problem, StoppingProblem) and kind == "Continuation":
        return Continuation.skeleton(problem, recipe)
    assert isinstance(problem, ParabolicPDE)
    if kind == "Smoothed":
        return Smoothed.of(problem, int(recipe["pairs"]), rng)
    if kind == "Features":
        return Features.skeleton(problem, skeleton(problem, recipe["base"]), recipe)
    if kind == "Network":
        smooth = skeleton(problem, recipe["frame"])
        return Network.skeleton(problem, smooth, skeleton(problem, recipe["base"]), recipe)
    if kind == "Picard":
        base = skeleton(problem, recipe["base"])
        assert isinstance(base, Smoothed)
        return Picard.skeleton(problem, base, recipe)
    raise ValueError(f"unknown surrogate {kind!r} in a saved file: written by another version of uncurse?")
