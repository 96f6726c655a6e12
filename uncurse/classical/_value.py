"""A number from a deterministic method, with the error it claims."""

from typing import NamedTuple


class Value(NamedTuple):
    """`value`, and the distance `error` to the answer at the resolution before: not a bound, but seldom exceeded."""

    value: float
    error: float
