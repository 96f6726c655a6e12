"""The referee in low dimension and for radial problems: NumPy in float64, independent of the Monte Carlo code."""

from . import bermudan as bermudan
from . import bermudan_plane as bermudan_plane
from . import grid as grid
from . import quadrature as quadrature
from . import radial as radial
from ._value import Value as Value
