"""Many models: their metrics against their quality.

`trends` measures how each metric of a `ModelTable` goes with quality: in every group, such as an architecture's series,
in all groups with their differences removed, and over all models. `rank` orders models whose quality is not known.
"""

from heavytail.trends.association import Association, associate
from heavytail.trends.pipeline import trends
from heavytail.trends.rank import rank
from heavytail.trends.reading import read_table
from heavytail.trends.report import Trend, TrendsReport, Within
from heavytail.trends.table import ModelTable

__all__ = ["Association", "ModelTable", "Trend", "TrendsReport", "Within", "associate", "rank", "read_table", "trends"]
