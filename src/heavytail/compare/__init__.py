"""Two models: what fine-tuning, merging, quantisation or an adapter changed."""

from heavytail.compare.pipeline import compare
from heavytail.compare.report import Comparison

__all__ = ["Comparison", "compare"]
