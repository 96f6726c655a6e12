"""How an answer is shown and kept: text, plots, files, progress. Heavy imports wait until they are used."""

from ._files import load as load
from ._files import save as save
from ._plots import plot as plot
from ._progress import Progress as Progress
from ._text import as_html as as_html
from ._text import as_text as as_text
