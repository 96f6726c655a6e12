"""What a user states; no numerics."""

from ._control import ControlProblem as ControlProblem
from ._control import CostBounds as CostBounds
from ._parabolic import ParabolicPDE as ParabolicPDE
from ._parabolic import SourceBounds as SourceBounds
from ._reference import Reference as Reference
from ._stopping import StoppingProblem as StoppingProblem

Problem = ParabolicPDE | ControlProblem | StoppingProblem
