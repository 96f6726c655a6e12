"""Function classes that can propose: closed form, random features, networks, Picard iterates."""

from ._base import AbstractSurrogate as AbstractSurrogate
from ._smoothed import Smoothed as Smoothed
from ._skeleton import skeleton as skeleton
