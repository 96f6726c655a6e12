"""How many standard errors an interval of a given confidence takes."""

from statistics import NormalDist


def half_width_factor(confidence: float) -> float:
    """z with P(|N| <= z) = confidence: the factor of a two-sided interval, 2.576 for 0.99."""
    return NormalDist().inv_cdf((1 + confidence) / 2)
