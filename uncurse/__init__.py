"""Solve equations in dimensions where grids are hopeless, with an interval that can be checked."""

from . import zoo as zoo
from ._simulate import Simulation as Simulation
from ._simulate import StoppedSimulation as StoppedSimulation
from ._simulate import simulate as simulate
from ._simulate import success_rate as success_rate
from ._solution import Estimate as Estimate
from ._solution import Guarantee as Guarantee
from ._solution import Result as Result
from ._solution import Solution as Solution
from ._solution import ToleranceNotMetError as ToleranceNotMetError
from ._solve import solve as solve
from ._version import __version__ as __version__
from .problems import ControlProblem as ControlProblem
from .problems import CostBounds as CostBounds
from .problems import ParabolicPDE as ParabolicPDE
from .problems import Reference as Reference
from .problems import SourceBounds as SourceBounds
from .problems import StoppingProblem as StoppingProblem
from .processes import Brownian as Brownian
from .processes import Diffusion as Diffusion
from .processes import GeometricBrownian as GeometricBrownian
from .processes import OrnsteinUhlenbeck as OrnsteinUhlenbeck
from .report import load as load
