"""How a number is certified: one file a theorem."""

from ._base import AbstractCertificate as AbstractCertificate
from ._base import Bounds as Bounds
from ._paths import Columns as Columns
from ._paths import Model as Model
from ._paths import Scheme as Scheme
from ._paths import Trace as Trace
from ._paths import simulate as simulate
from ._sampling import Chunk as Chunk
from ._sampling import Sampler as Sampler
from ._sampling import Visited as Visited
from ._sampling import columns_of as columns_of
from ._sampling import rows_for as rows_for
from ._sampling import terminal_values as terminal_values
from ._select import Offer as Offer
from ._select import allowed as allowed
from ._select import fallback as fallback
from ._select import offers as offers
from ._select import theorems as theorems
from .gradient_smooth import GradientSmooth as GradientSmooth
from .linear import Linear as Linear
from .lipschitz import Lipschitz as Lipschitz
from .mixed import Mixed as Mixed
from .mixed import sampled_curvature as sampled_curvature
from .mixed import sampled_remainder as sampled_remainder
from .step import Stepped as Stepped
from .value import Value as Value
