"""The statistical mechanics of learning: every number of the reference, recomputed with `heavytail.learning`."""

from heavytail.reproduce.learning.bounds import CLAIMS as BOUNDS
from heavytail.reproduce.learning.capacity import CLAIMS as CAPACITY
from heavytail.reproduce.learning.finite_temperature import CLAIMS as FINITE_TEMPERATURE
from heavytail.reproduce.learning.inference import CLAIMS as INFERENCE
from heavytail.reproduce.learning.landscapes import CLAIMS as LANDSCAPES
from heavytail.reproduce.learning.memories import CLAIMS as MEMORIES
from heavytail.reproduce.learning.reference import CLAIMS as REFERENCE
from heavytail.reproduce.learning.stopping import CLAIMS as STOPPING
from heavytail.reproduce.learning.teacher import CLAIMS as TEACHER
from heavytail.reproduce.learning.vsdl import CLAIMS as VSDL

__all__ = ["CLAIMS"]

_PHYSICS = (*MEMORIES, *CAPACITY, *TEACHER, *FINITE_TEMPERATURE, *VSDL, *STOPPING, *INFERENCE, *BOUNDS, *LANDSCAPES)
CLAIMS = (*_PHYSICS, *REFERENCE)
"""The claims of all themes, in the order of the reference, and then its numbers that are off."""
