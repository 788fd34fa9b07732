"""Published trends in series of models: metrics against quality, and the matrices that they are means of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from heavytail.errors import SourceError
from heavytail.reproduce.claim import OWN, Check, Claim, Verdict, printed
from heavytail.reproduce.published import Table
from heavytail.trends.association import kendall_limit, least_squares
from heavytail.trends.permutation import pair_signs

__all__ = ["CLAIMS"]

Generator = np.random.Generator
Vector = NDArray[np.float64]

_MODELS, _LAYERS, _VGG_SLICES = "model_metrics.csv", "layer_metrics.csv", "mm19_vgg_conv_slices.csv"
_MM19 = "Martin and Mahoney 2019, arXiv:1901.08278"
_WW20 = "Martin, Peng and Mahoney 2021, arXiv:2002.06716"
_TRENDS = "ww-trends-2020"


def _tau(x: Vector, y: Vector) -> float:
    """Kendall's tau-b."""
    limit = kendall_limit(x, y)
    return float(np.sum(pair_signs(x) * pair_signs(y)) / limit) if limit else np.nan


def _series(collection: str, series: str, metrics: Iterable[str], _: Generator, models: Table) -> dict[str, float]:
    """Fits of metrics in one series, and the number of its models."""
    rows = models.where(collection=collection, series=series)
    accuracy = rows.numbers("top1_accuracy")
    measured = {"models": float(len(rows))}
    for metric in metrics:
        x = rows.numbers(metric)
        line = least_squares(x, accuracy)
        measured |= {f"RMSE of {metric}": line.rmse, f"R2 of {metric}": line.r2, f"tau of {metric}": _tau(x, accuracy)}
    return measured


def _regressions(targets: Mapping[str, str], note: str) -> tuple[Check, ...]:
    """Give the checks of metrics whose RMSE, R2 and tau are printed, in this order; - where one is not."""
    return tuple(
        printed(f"{what} of {metric}", digits, note)
        for metric, line in targets.items()
        for what, digits in zip(("RMSE", "R2", "tau"), line.split(), strict=True)
        if digits != "-"
    )


_G1_TARGETS = {
    "VGG": {
        "log_norm": "0.56 0.88 -0.79",
        "alpha": "0.40 0.94 0.86",
        "alpha_weighted": "0.48 0.92 -0.93",
        "log_spectral_norm": "0.23 0.98 -0.93",
        "log_stable_rank": "1.5 0.15 0.36",
        "mp_softrank": "0.42 0.93 0.86",
        "log_alpha_norm": "0.34 0.96 -0.93",
    },
    "ResNet": {
        "log_norm": "0.90 0.92 -1.0",
        "alpha": "2.2 0.51 -0.60",
        "alpha_weighted": "0.61 0.96 -1.0",
        "log_spectral_norm": "0.97 0.90 -1.0",
        "log_stable_rank": "2.7 0.24 -0.60",
        "mp_softrank": "1.4 0.79 0.80",
        "log_alpha_norm": "0.66 0.95 -1.0",
    },
}
_G1 = tuple(
    Claim(
        f"G1-{series}",
        f"Seven metrics against the accuracy of {series} models",
        _WW20,
        "Least squares of the top-1 accuracy on each metric, RMSE without correction for degrees of freedom, and "
        f"Kendall's tau. {remark}",
        "the models of the published series, all of them",
        partial(_series, _TRENDS, series, tuple(_G1_TARGETS[series])),
        (printed("models", number, "table of models"), *_regressions(_G1_TARGETS[series], "printed to two digits")),
        seconds=0.01,
        data=(_MODELS,),
    )
    for series, number, remark in (
        ("VGG", "8", "The plain mean of alpha goes against the theory here: it rises with accuracy."),
        ("ResNet", "5", "With 5 models even a perfect order comes by chance in 1 of 60."),
    )
)

# The tables of the first paper: numbers of each model as printed, and their fits.


def _printed_models(
    collection: str, series: str, columns: Sequence[str], values: Mapping[str, str], rng: Generator, models: Table
) -> dict[str, float]:
    """Fits of a series, and how many of the numbers printed for its models are those of the table."""
    rows = models.where(collection=collection, series=series)
    ours = {column: dict(zip(rows.texts("model"), rows.numbers(column), strict=True)) for column in columns}
    agree = dict.fromkeys(columns, 0.0)
    for model, line in values.items():
        for column, digits in zip(columns, line.split(), strict=True):
            check = printed(column, digits)
            agree[column] += check.against(ours[column].get(model, np.nan)).verdict is Verdict.REPRODUCED
    fits = _series(collection, series, ("alpha_weighted", "log_norm"), rng, models)
    return fits | {f"{column} as printed": number for column, number in agree.items()}


_F2_COLUMNS, _F2_MODELS = (
    ("num_matrices", "top1_accuracy", "alpha_weighted", "log_norm"),
    {
        "vgg11": "66 68.97 1.84 0.947",
        "vgg11_bn": "66 70.45 1.60 0.890",
        "vgg13": "84 69.66 1.65 0.864",
        "vgg13_bn": "84 71.51 1.36 0.794",
        "vgg16": "111 71.64 1.41 0.838",
        "vgg16_bn": "111 73.52 1.08 0.770",
        "vgg19": "138 72.08 1.16 0.819",
        "vgg19_bn": "138 74.27 0.81 0.736",
    },
)
_F3_COLUMNS, _F3_MODELS = (
    ("top1_accuracy", "alpha_weighted"),
    {
        "resnet10": "62.54 1.94",
        "resnet12": "63.82 0.74",
        "resnet14": "66.83 1.70",
        "resnet16": "69.10 1.49",
        "resnet18_wd4": "50.50 1.83",
        "resnet18_wd2": "62.96 1.82",
        "resnet18_w3d4": "66.39 0.28",
        "resnet18": "70.48 1.09",
        "resnet34": "74.34 -0.42",
        "resnet50": "76.21 0.13",
        "resnet50b": "76.95 0.09",
        "resnet101": "78.10 -0.67",
        "resnet101b": "78.55 -0.92",
        "resnet152": "78.74 -1.11",
        "resnet152b": "79.26 -1.74",
    },
)
_F2, _F3 = (
    Claim(
        name,
        f"alpha-hat and the norm against the accuracy of {series} models",
        _MM19,
        f"{printed_where}; least squares of the top-1 accuracy on the two metrics, with Kendall's tau: these fits are "
        "the reference's own, from that table.",
        "the models of the published table, all of them",
        partial(_printed_models, collection, series, columns, values),
        (
            printed("models", str(len(values)), "table of models"),
            *(printed(f"{column} as printed", str(len(values)), "table of models") for column in columns),
            *_regressions(targets, OWN),
        ),
        seconds=0.01,
        data=(_MODELS,),
    )
    for name, collection, series, columns, values, targets, printed_where in (
        (
            "F2",
            "MM19a arXiv:1901.08278 (torchvision)",
            "VGG",
            _F2_COLUMNS,
            _F2_MODELS,
            {"alpha_weighted": "0.32 0.963 -0.93", "log_norm": "0.59 0.879 -0.79"},
            "The accuracy and alpha-hat of each model as the paper prints them, its norm as the notebook does",
        ),
        (
            "F3",
            "MM19a arXiv:1901.08278 (OSMR)",
            "ResNet",
            _F3_COLUMNS,
            _F3_MODELS,
            {"alpha_weighted": "- 0.691 -0.83", "log_norm": "- 0.335 -0.56"},
            "The accuracy and alpha-hat of each model as the paper prints them",
        ),
    )
)


def _slices(_: Generator, slices: Table, layers: Table) -> dict[str, float]:
    """Convolution slices of VGG11 as trained and with their entries shuffled.

    The norm is not in the table of slices. It is the stable rank, which no scale changes, times lambda_max, and the
    stable rank is in the table of layers, which holds the same slices in the same order.
    """
    trained, shuffled = slices.where(model="vgg11"), slices.where(model="vgg11_randomized")
    twins = layers.where(model="vgg11", layer_type="CONV2D", level="SLICE")
    if len(trained) != len(twins):
        raise SourceError(
            slices.path, f"has {len(trained)} rows of model vgg11; expected {len(twins)}, as in {twins.path.name}"
        )
    alpha, largest = trained.numbers("alpha"), trained.numbers("lambda_max_glorot_X")
    smaller = np.minimum(trained.numbers("dim0"), trained.numbers("dim1"))
    log_square = twins.numbers("log_stable_rank") + np.log10(largest * smaller)
    product = alpha * np.log10(largest)
    return {
        "slices": float(len(trained)),
        "mean alpha": float(alpha.mean()),
        "mean alpha, shuffled": float(shuffled.numbers("alpha").mean()),
        "mean lambda_max": float(largest.mean()),
        "mean lambda_max, shuffled": float(shuffled.numbers("lambda_max_glorot_X").mean()),
        "least alpha log lambda_max": float(product.min()),
        "largest alpha log lambda_max": float(product.max()),
        "least log ||W||_F^2": float(log_square.min()),
        "largest log ||W||_F^2": float(log_square.max()),
        "mean alpha log lambda_max where log ||W||_F^2 > 4.6": float(product[log_square > 4.6].mean()),
        "largest difference of alpha from the table of layers": float(np.abs(alpha - twins.numbers("alpha")).max()),
    }


_F6 = Claim(
    "F6",
    "alpha, norm and largest eigenvalue of the convolution slices of VGG11",
    _MM19,
    "Slices scaled as by Glorot, X = W^T W / M with M the smaller dimension (published as 1/N), beside slices whose "
    "entries were shuffled: shuffling keeps the entries, and takes away the heavy tail. The paper shows these numbers "
    "in plots; the means are of the table that it drew them from.",
    "all slices whose smaller dimension is at least 50",
    _slices,
    (
        printed("slices", "63", "table of slices"),
        printed("mean alpha", "2.58", "table of slices"),
        printed("mean alpha, shuffled", "7.57", "table of slices"),
        printed("mean lambda_max", "5.84", "table of slices"),
        printed("mean lambda_max, shuffled", "1.79", "table of slices"),
        printed("least alpha log lambda_max", "0.8", "range of the plot"),
        printed("largest alpha log lambda_max", "3.9", "range of the plot"),
        printed("least log ||W||_F^2", "3.4", "range of the plot"),
        printed("largest log ||W||_F^2", "4.8", "range of the plot"),
        Check("mean alpha log lambda_max where log ||W||_F^2 > 4.6", 2.5, 0.25, "'saturates', read off the plot"),
        Check("largest difference of alpha from the table of layers", 0.0, 1e-5, "the same fits, in single precision"),
    ),
    seconds=0.01,
    data=(_VGG_SLICES, _LAYERS),
)


_IN_DOUBLE = ("alpha", "alpha_weighted", "log_stable_rank", "mp_softrank", "log_alpha_norm")


def _excess(rows: Table, members: Sequence[Table], column: str) -> Vector:
    """By how much a metric of each model is above the mean over its matrices."""
    means: Vector = np.array([member.numbers(column).mean() for member in members])
    return rows.numbers(column) - means


def _summaries(_: Generator, models: Table, layers: Table) -> dict[str, float]:
    """How far the metrics of models are from the means over their matrices, and a correlation over the matrices."""
    matrices = layers.where(level="SLICE")
    double, single, measured = [], [], {}
    for series in ("VGG", "ResNet", "GPT2"):
        rows = models.where(collection=_TRENDS, series=series)
        members = [matrices.where(series=series, model=model) for model in rows.texts("model")]
        double += [np.abs(_excess(rows, members, column)).max() for column in _IN_DOUBLE]
        single.append(np.abs(_excess(rows, members, "log_norm")).max())
        spectral = _excess(rows, members, "log_spectral_norm")
        measured[f"least excess of log_spectral_norm, {series}"] = float(spectral.min())
        measured[f"largest excess of log_spectral_norm, {series}"] = float(spectral.max())
        every = matrices.where(series=series)
        relation = np.corrcoef(every.numbers("alpha_weighted"), every.numbers("log_norm"))[0, 1]
        measured[f"correlation of alpha log lambda_max and log ||W||_F^2, {series}"] = float(relation)
    return measured | {
        f"largest difference of {', '.join(_IN_DOUBLE)}": float(max(double)),
        "largest difference of log_norm": float(max(single)),
    }


_G1_LAYERS = Claim(
    "G1-layers",
    "The metrics of a model are means over its matrices",
    _WW20,
    "The summary of each model beside the mean over its matrices, and the correlation that alpha-hat rests on. The "
    "summary's log_spectral_norm of VGG and ResNet is larger than the mean of the matrices'. The paper prints none of "
    "these numbers: they are the reference's own, from the published tables.",
    "8 VGG, 5 ResNet and 4 GPT2 models, 2830 matrices, all of the published table",
    _summaries,
    (
        Check(f"largest difference of {', '.join(_IN_DOUBLE)}", 0.0, 1e-12, f"means, in double precision: {OWN}"),
        Check("largest difference of log_norm", 0.0, 5e-7, f"a mean, in single precision: {OWN}"),
        *(
            printed(f"{which} excess of log_spectral_norm, {series}", digits, OWN)
            for series, ends in (("VGG", "0.02 0.07"), ("ResNet", "0.09 0.18"), ("GPT2", "0.00 0.00"))
            for which, digits in zip(("least", "largest"), ends.split(), strict=True)
        ),
        *(
            printed(f"correlation of alpha log lambda_max and log ||W||_F^2, {series}", digits, OWN)
            for series, digits in (("VGG", "0.62"), ("ResNet", "0.82"), ("GPT2", "0.56"))
        ),
    ),
    seconds=0.01,
    data=(_MODELS, _LAYERS),
)

_EMBEDDING = 50_257  # rows of the matrix of the vocabulary
_G2_MEANS = ("log_norm", "log_spectral_norm", "alpha_weighted", "log_alpha_norm")
_G2_TARGETS = {
    "small": "49 2.04 2.54 9.62 9.87",
    "medium": "98 2.08 2.58 9.74 10.01",
    "large": "146 1.85 1.99 7.67 7.94",
    "xl": "194 1.86 1.92 7.17 7.51",
}


def _printed_in(name: str, size: str) -> str:
    return "table of GPT2 models" if name == "log_spectral_norm" and size != "small" else OWN


def _gpt2(_: Generator, layers: Table) -> dict[str, float]:
    """Means over the matrices of the GPT2 models, with the embedding and without."""
    measured = {}
    for size in _G2_TARGETS:
        rows = layers.where(series="GPT2", model=f"gpt2 {size}", level="SLICE")
        inner = rows.numbers("N") != _EMBEDDING
        taken = inner if size == "small" else np.ones_like(inner)
        measured[f"matrices, {size}"] = float(taken.sum())
        measured |= {f"{name}, {size}": float(rows.numbers(name)[taken].mean()) for name in _G2_MEANS}
        alpha = rows.numbers("alpha")
        measured[f"alpha without the embedding, {size}"] = float(alpha[inner].mean())
        measured[f"alpha, {size}"] = float(alpha.mean())
        measured[f"largest alpha, {size}"] = float(alpha.max())
        measured[f"alpha_weighted with the embedding, {size}"] = float(rows.numbers("alpha_weighted").mean())
    return measured


_G2 = Claim(
    "G2",
    "Means over the matrices of four GPT2 models",
    _WW20,
    "Means over all matrices; the published ones leave the embedding out of the small model, and of alpha of the "
    "larger ones, and keep it elsewhere. The larger, better models have the smaller norms; alpha does not tell them "
    "apart. The paper prints alpha and log_spectral_norm of the three larger models, a notebook those of the small one "
    "with its embedding; the rest is the reference's own, from the published table of layers.",
    "every matrix of the published table; that of the first GPT, which was trained on less, is not published",
    _gpt2,
    (
        *(
            printed(f"{name}, {size}", digits, _printed_in(name, size))
            for size, line in _G2_TARGETS.items()
            for name, digits in zip(("matrices", *_G2_MEANS), line.split(), strict=True)
        ),
        *(
            printed(f"alpha without the embedding, {size}", digits, "table of GPT2 models")
            for size, digits in (("medium", "3.82"), ("large", "3.97"), ("xl", "3.81"))
        ),
        printed("alpha, small", "3.83", "notebook"),
        printed("largest alpha, small", "6.25", "notebook"),
        printed("alpha_weighted with the embedding, small", "9.78", "notebook"),
    ),
    seconds=0.01,
    data=(_LAYERS,),
)

CLAIMS = (_F2, _F3, _F6, *_G1, _G1_LAYERS, _G2)
"""The claims of this group, in the order of the reference."""
