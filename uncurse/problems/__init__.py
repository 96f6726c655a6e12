"""What a user states: equations, and no numerics."""

from ._parabolic import ParabolicPDE as ParabolicPDE
from ._parabolic import SourceBounds as SourceBounds
from ._reference import Reference as Reference
