"""The main job: a source becomes a report."""

from heavytail.analysis.cost import Cost, measure_rate
from heavytail.analysis.pipeline import Convention, Estimate, analyze, estimate, threads_of

__all__ = ["Convention", "Cost", "Estimate", "analyze", "estimate", "measure_rate", "threads_of"]
