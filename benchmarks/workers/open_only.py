"""open_only.py FILE: everything `heavytail analyze` does but the analysis: its imports, opening and planning."""

import sys
from importlib import import_module

from heavytail.analysis import estimate

planned = estimate(sys.argv[1])
large = any(part.M >= 1024 for plan in planned.plans for part in plan.parts)
names = ("heavytail.cli", "rich.console", "threadpoolctl")
for name in (*names, "scipy.linalg.blas", "scipy.linalg.lapack") if large else names:
    import_module(name)
