"""Rows and reports of made-up models, without an analysis."""

from math import log10

from heavytail.diagnosis.row import Row
from heavytail.report.model_report import ModelReport, summarise


def row(name="blocks.0.fc", kind="linear", norm=4.0, lambda_max=2.0, alpha=3.0, half=0.1, **others):
    """An ok row with these numbers; the 95 % interval of alpha is its value plus and minus `half`."""
    given = {
        **{"N": 20.0, "M": 10.0, "num_matrices": 1.0, "num_evals": 10.0},
        **{"norm": norm, "log_norm": log10(norm), "lambda_max": lambda_max, "log_spectral_norm": log10(lambda_max)},
        **{"stable_rank": norm / lambda_max, "alpha": alpha, "alpha_lo": alpha - half, "alpha_hi": alpha + half},
        **{"alpha_weighted": alpha * log10(lambda_max), "log_alpha_norm": alpha * log10(lambda_max) + 0.1},
    }
    return Row(name=name, kind=kind, dtype="float32", status="ok", **given | others)


def report(name, *rows, **settings):
    source = {"name": name, "format": "npz", "files": [], "notes": []}
    return ModelReport(source, {"conv": "slices", **settings}, summarise(rows), rows, {}, "0")


def network(name, alpha, prefix="blocks", depth=4, **others):
    """A model of `depth` layers whose mean alpha is `alpha`."""
    return report(name, *(row(f"{prefix}.{i}.fc", alpha=alpha, **others) for i in range(depth)))
