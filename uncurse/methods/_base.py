"""What every method is: a way to find a surrogate, in blocks that a caller can stop after any of."""

import abc
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ..analysis import Source
from ..certificates import Model, Sampler, Scheme
from ..problems import ParabolicPDE
from ..surrogates import AbstractSurrogate


@dataclass(frozen=True)
class Setting:
    """What a method may use: the problem, what is known of its source, where paths start, and the seed."""

    problem: ParabolicPDE
    source: Source
    starts: Float[np.ndarray, "n d"]
    steps: int
    rows: int
    seed: int

    @property
    def sampler(self) -> Sampler:
        scheme = Scheme.of(self.source, self.problem.process, self.steps)
        directions = None if self.source.directions is None else self.source.directions.value
        variation = None if self.source.variation is None else self.source.variation.value
        model = Model.of(self.problem, self.source.extension, directions, variation)
        return Sampler(model, scheme, self.starts, self.rows)


class State(NamedTuple):
    """Where a method stands; a pytree of arrays but for the numbers of its progress."""

    surrogate: AbstractSurrogate
    round: int              # blocks done
    finished: bool          # more blocks would change nothing
    private: Any = None     # what the method needs to go on


class AbstractMethod(abc.ABC):
    """`init` then `step` as often as it pays; the surrogate of any state may be certified."""

    name: str

    @abc.abstractmethod
    def init(self, setting: Setting, base: AbstractSurrogate | None, y0: Float[np.ndarray, " n"]) -> State:
        """The first surrogate; `base` is the best one that an earlier method found."""

    @abc.abstractmethod
    def step(self, setting: Setting, state: State, y0: Float[np.ndarray, " n"]) -> State:
        """One block of work, some tenths of a second; y0 is the current estimate of u at the points asked for."""
