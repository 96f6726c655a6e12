"""How many standard errors an interval of a given confidence takes."""

from statistics import NormalDist

# Of the chance of a miss: kept for the plain average that stands in where few paths carry the one with less variance.
SPARED = 0.05


def half_width_factor(confidence: float) -> float:
    """z with P(|N| <= z) = confidence: the factor of a two-sided interval, 2.576 for 0.99."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def shared_factors(z: float) -> tuple[float, float]:
    """Factors for two intervals that miss together no more often than one of z standard errors: the first keeps
    1 - `SPARED` of the chance of a miss. 2.576 is split into 2.594 and 3.481."""
    if z == 0:
        return 0.0, 0.0
    tail = NormalDist().cdf(-z)
    return tuple(-NormalDist().inv_cdf(part * tail) for part in (1 - SPARED, SPARED))       # type: ignore[return-value]
