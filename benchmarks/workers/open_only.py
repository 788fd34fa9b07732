"""open_only.py FILE: everything `heavytail analyze` does but the analysis: its imports, opening and planning."""

import sys

import rich.console
import threadpoolctl

import heavytail.cli
from heavytail.analysis import estimate

planned = estimate(sys.argv[1])
if any(part.M >= 1024 for plan in planned.plans for part in plan.parts):
    import scipy.linalg.blas
    import scipy.linalg.lapack  # noqa: F401
