"""Feedback around a path: a policy that knows what to do along it, and corrects linearly what noise does to it."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._devices import single
from ..problems import ControlProblem
from ._base import Point, Scalar
from ._policy import AbstractPolicy

EARLY = 1e-3        # of a step: how far before t_k a time still counts as t_k, since t is rounded


class Feedback(AbstractPolicy):
    """a = clip(a_k + K_k (x - x_k)), k the step that t lies in."""

    states: Float[Array, "steps d"]
    controls: Float[Array, "steps m"]
    gains: Float[Array, "steps m d"]
    low: Float[Array, " m"]
    high: Float[Array, " m"]
    step: Float[Array, ""]

    @staticmethod
    def of(
        problem: ControlProblem, states: Float[np.ndarray, "steps d"], controls: Float[np.ndarray, "steps m"],
        gains: Float[np.ndarray, "steps m d"],
    ) -> "Feedback":
        """Around the first `steps` states of a path, within the problem's bounds."""
        m = problem.control_dim
        low, high = (-np.inf, np.inf) if problem.control_bounds is None else problem.control_bounds

        low, high = (single(np.broadcast_to(np.asarray(end), (m,))) for end in (low, high))
        path = single(states[: problem.steps])
        return Feedback(path, single(controls), single(gains), low, high, single(problem.step))

    @staticmethod
    def skeleton(problem: ControlProblem, recipe: dict[str, Any]) -> "Feedback":
        n, d, m = int(recipe["steps"]), problem.dim, problem.control_dim
        if n != problem.steps:
            raise ValueError(f"it decides {n} times, the problem {problem.steps} times")
        return Feedback.of(problem, np.zeros((n, d)), np.zeros((n, m)), np.zeros((n, m, d)))

    @property
    def dim(self) -> int:
        return self.states.shape[1]

    def control(self, t: Scalar, x: Point) -> Float[Array, " m"]:
        return jnp.clip(self.wanted(t, x), self.low, self.high)

    def wanted(self, t: Scalar, x: Point) -> Float[Array, " m"]:
        k = jnp.clip(jnp.floor(t / self.step + EARLY).astype(int), 0, len(self.controls) - 1)
        return self.controls[k] + self.gains[k] @ (x - self.states[k])

    def recipe(self) -> dict[str, Any]:
        return {"class": "Feedback", "steps": len(self.controls)}
