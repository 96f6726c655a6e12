"""Diffusions: sampled exactly where that is possible, stepped otherwise."""

from ._base import AbstractExactProcess as AbstractExactProcess
from ._base import AbstractProcess as AbstractProcess
from ._base import mean_decay as mean_decay
from ._brownian import Brownian as Brownian
from ._diffusion import Diffusion as Diffusion
from ._geometric import GeometricBrownian as GeometricBrownian
from ._ornstein_uhlenbeck import OrnsteinUhlenbeck as OrnsteinUhlenbeck
