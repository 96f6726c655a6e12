"""Numbers as words: decimals follow the error, and what is not a number is never printed as one."""

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, localcontext

LARGEST_PLAIN = 1e7
SMALLEST_PLAIN = 1e-4
DIGITS_WITHOUT_ERROR = 8
"""Significant digits of a number whose error is zero, or not known to be finite."""


def _magnitude(x: float) -> int:
    return math.floor(math.log10(abs(x)))


def decimals(error: float, size: float) -> int:
    """Decimal places (negative: left of the point) that show two significant digits of `error`."""
    limit = 15 - _magnitude(size) if math.isfinite(size) and size != 0.0 else 0     # a double holds no more
    if math.isfinite(error) and error > 0.0:
        wanted = 1 - _magnitude(error)
        return min(wanted, limit) if limit else wanted
    return limit - 16 + DIGITS_WITHOUT_ERROR if limit else 0


def _written(x: float, power: int, places: int, rounding: str) -> str:
    # From the shortest decimal that names the double, so that 4.5893 does not round down to 4.5892.
    with localcontext() as context:
        context.prec = 400
        scaled = Decimal(repr(float(x))).scaleb(-power)
        text = format(scaled.quantize(Decimal(1).scaleb(-places), rounding=rounding), "f")
    return text + (f"e{power:+03d}" if power else "")


def _layout(error: float, size: float) -> tuple[int, int]:
    """Power of ten to factor out, and the decimal places after that."""
    plain = size == 0.0 or SMALLEST_PLAIN <= size < LARGEST_PLAIN
    power = 0 if plain else _magnitude(size)
    return power, max(decimals(error, size) + power, 0)


def interval(value: float, low: float, high: float) -> tuple[str, str, str]:
    """The three numbers with common decimals. The ends are rounded outwards: what is printed claims no more."""
    finite = [x for x in (value, low, high) if math.isfinite(x)]
    distances = [abs(x - value) for x in (low, high) if math.isfinite(x) and math.isfinite(value)]
    if not distances and len(finite) == 2:
        distances = [(high - low) / 2]
    power, places = _layout(max(distances, default=math.nan), max((abs(x) for x in finite), default=0.0))
    rows = ((value, ROUND_HALF_EVEN, "unknown"), (low, ROUND_FLOOR, "unbounded"), (high, ROUND_CEILING, "unbounded"))
    shown = [_written(x, power, places, how) if math.isfinite(x) else otherwise for x, how, otherwise in rows]
    return shown[0], shown[1], shown[2]


def measured(value: float, error: float) -> str:
    """One number with the decimals that its error allows."""
    if not math.isfinite(value):
        return "not finite"
    power, places = _layout(error, abs(value))
    return _written(value, power, places, ROUND_HALF_EVEN)


def significant(value: float, digits: int) -> str:
    """One number with so many significant digits, trailing zeros kept."""
    if not math.isfinite(value):
        return "not finite"
    if value == 0.0:
        return "0"
    size = abs(value)
    plain = SMALLEST_PLAIN <= size < LARGEST_PLAIN
    power = 0 if plain else _magnitude(size)
    return _written(value, power, max(digits - 1 - _magnitude(size) + power, 0), ROUND_HALF_EVEN)


def error(size: float) -> str:
    """A part of an error: two digits, or a word."""
    if math.isnan(size):
        return "unknown"
    if math.isinf(size):
        return "unbounded"
    return "0" if size == 0.0 else f"{size:.2g}"


def percent(share: float) -> str:
    """A ratio as a percentage of two digits."""
    if not math.isfinite(share):
        return "not finite"
    hundred = 100.0 * abs(share)
    return f"{hundred:.0f} %" if hundred >= 10.0 else f"{hundred:.2g} %"


def level(confidence: float) -> str:
    """A confidence as a percentage, all its digits kept: 0.99999 must not read 100 %."""
    scaled = (Decimal(repr(float(confidence))) * 100).normalize()
    return f"{scaled:f} %"
