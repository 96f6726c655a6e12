"""Function classes that can propose: closed form, random features, networks, Picard iterates."""

from ._base import AbstractSurrogate as AbstractSurrogate
from ._continuation import AbstractContinuation as AbstractContinuation
from ._continuation import StopRule as StopRule
from ._continuation_features import Continuation as Continuation
from ._continuation_network import ContinuationNetwork as ContinuationNetwork
from ._features import Features as Features
from ._features import with_theta as with_theta
from ._feedback import Feedback as Feedback
from ._flowed import Flowed as Flowed
from ._frame import Frame as Frame
from ._network import Layers as Layers
from ._network import Network as Network
from ._network import along as along
from ._network import with_layers as with_layers
from ._nodes import Nodes as Nodes
from ._picard import Picard as Picard
from ._policy import AbstractPolicy as AbstractPolicy
from ._policy import AbstractRule as AbstractRule
from ._quadratic import Quadratic as Quadratic
from ._skeleton import UnknownClassError as UnknownClassError
from ._skeleton import skeleton as skeleton
from ._smoothed import Smoothed as Smoothed
from ._summary import Summary as Summary
from ._trained import Trained as Trained
