"""What can be proved of a problem before any path is drawn: the structure of f, ranges, slopes and curvatures."""

from ._source import Bound as Bound
from ._source import Source as Source
from ._source import Variation as Variation
from ._source import analyse as analyse
