"""Two models: what fine-tuning, merging, quantisation or an adapter changed."""

from heavytail.comparison.pipeline import compare
from heavytail.comparison.report import Comparison

__all__ = ["Comparison", "compare"]
