"""Function classes that can propose: closed form, random features, networks, Picard iterates."""

from ._base import AbstractSurrogate as AbstractSurrogate
from ._features import Features as Features
from ._features import with_theta as with_theta
from ._frame import Frame as Frame
from ._skeleton import skeleton as skeleton
from ._smoothed import Smoothed as Smoothed
