"""`python -m uncurse` is `uncurse`."""

import sys

from ._cli import main

sys.exit(main())
