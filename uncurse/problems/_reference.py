"""A known value, where it comes from and how many of its digits hold."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """A value of u at t = 0 and the zoo's point.

    Args:
        value: the number.
        origin: the formula or computation it comes from.
        digits: significant digits that hold; 0 where the value is only indicative.
        error: half-width of what is known, in units of u; 0 for a formula evaluated to machine precision.
    """

    value: float
    origin: str
    digits: int
    error: float = 0.0
