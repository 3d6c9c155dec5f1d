"""Results and unfinished runs on disk, without pickle.

A file is a zip archive: ``content.json`` and one ``.npy`` member for every array. It holds
the data, how the model was made, and the chains; the model is made again from these.
"""

from jaxmice.storage.results import load as load, save as save
from jaxmice.storage.runs import Checkpoint as Checkpoint, resume as resume
