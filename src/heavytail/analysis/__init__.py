"""The main job: a source becomes a report."""

from heavytail.analysis.jobs import Cost
from heavytail.analysis.pipeline import Convention, Estimate, analyze, estimate

__all__ = ["Convention", "Cost", "Estimate", "analyze", "estimate"]
