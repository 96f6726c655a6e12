"""Accumulators, intervals and random streams."""

from ._lattice import shifted_net as shifted_net
from ._moments import FEW as FEW
from ._moments import Moments as Moments
from ._moments import lognormal_kurtosis as lognormal_kurtosis
from ._quantiles import half_width_factor as half_width_factor
from ._quantiles import shared_factors as shared_factors
from ._streams import Purpose as Purpose
from ._streams import draw_bits as draw_bits
from ._streams import host_stream as host_stream
from ._streams import normal as normal
from ._streams import stream as stream
from ._streams import uniform as uniform
