"""Reports made of synthetic spectra, seeded, with rows of every status."""

from dataclasses import replace
from functools import cache
from math import log10, nan, sqrt

import numpy as np

from heavytail.diagnosis.layer import Wanted, diagnose_layer, measure
from heavytail.diagnosis.metrics import diagnose
from heavytail.diagnosis.row import Row
from heavytail.diagnosis.tail import find_tail, measure_tail
from heavytail.report.model_report import ModelReport, summarise
from heavytail.rmt.ensembles.phases import PHASES, draw_phase
from heavytail.spectra.exact import spectrum_of_stack
from heavytail.spectra.spectrum import Spectrum

HOSTILE = "</script><img src=x onerror=\"document.title='broken'\">"
_PARTS = (
    ("self_attn.q_proj", "linear", 1.0),
    ("self_attn.k_proj", "linear", 1.0),
    ("self_attn.v_proj", "linear", 1.5),
    ("self_attn.o_proj", "linear", 1.2),
    ("mlp.up_proj", "linear", 0.9),
    ("mlp.down_proj", "linear", 0.8),
)


def spectrum(rng, n=384, alpha=3.0, zeros=0):
    bulk = rng.uniform(0.02, 1.0, n - n // 4 - zeros) ** 2
    tail = rng.pareto(alpha - 1, n // 4) + 1
    return of(np.sort(np.concatenate([np.zeros(zeros), bulk, tail])), zeros)


def of(evals, zeros=0, method="gram"):
    """The spectrum of a matrix with these eigenvalues."""
    return Spectrum(
        N=2 * evals.size,
        M=evals.size,
        evals=evals,
        by_matrix=evals[None],
        positive=evals[zeros:],
        floor=1e-12 if zeros else 0.0,
        error=1e-12,
        method=method,
    )


def ok_row(name, kind, found):
    evals = found.evals
    tail = evals[evals >= 1]
    alpha = 1 + tail.size / np.log(tail).sum()
    sigma = (alpha - 1) / sqrt(tail.size)
    share = evals[evals > 0] / evals.sum()
    warning = "over-trained" if alpha + 2 * sigma < 2 else "under-trained" if alpha - 2 * sigma > 6 else ""
    ranks = np.arange(tail.size) / tail.size
    return Row(
        name=name,
        kind=kind,
        dtype="bfloat16",
        status="ok",
        N=found.N,
        M=found.M,
        Q=found.N / found.M,
        num_matrices=1,
        num_evals=evals.size,
        norm=evals.sum(),
        log_norm=log10(evals.sum()),
        lambda_max=evals[-1],
        log_spectral_norm=log10(evals[-1]),
        stable_rank=evals.sum() / evals[-1],
        matrix_rank=int((evals > 0).sum()),
        rank_loss=int((evals == 0).sum()),
        entropy=-(share * np.log(share)).sum() / np.log(share.size),
        alpha=alpha,
        alpha_lo=alpha - 2 * sigma,
        alpha_hi=alpha + 2 * sigma,
        sigma=sigma,
        xmin=tail[0],
        xmax=tail[-1],
        D=float(np.abs(1 - tail ** (1 - alpha) - ranks).max()),
        num_pl_spikes=tail.size,
        tail="undecided",
        warning=warning,
        alpha_hill=alpha * 0.9,
        alpha_weighted=alpha * log10(evals[-1]),
        log_alpha_norm=log10((evals**alpha).sum()),
    )


def make(layers=24, n=384, seed=7, hostile=True, noise=False):
    """A transformer-like report: six matrices and two skipped vectors a block, and some rows in trouble."""
    rng = np.random.default_rng(seed)
    rows, spectra = [], {}

    def add(name, kind, exponent, zeros=0, **changes):
        found = spectrum(rng, n, exponent, zeros)
        rows.append(replace(ok_row(name, kind, found), **changes))
        spectra[name] = found

    add("model.embed_tokens", "embedding", 1.6)
    for index in range(layers):
        part, kind, shift = _PARTS[index % 6]
        block = f"model.layers.{index // 6}"
        add(f"{block}.{part}", kind, 1.6 + shift * rng.uniform(1.2, 2.2) + 2.5 * (index / layers) ** 2)
        if index % 6 == 5:
            rows.extend(
                Row(name=f"{block}.{norm}", kind="", dtype="bfloat16", status="skipped", reason="a vector")
                for norm in ("input_layernorm", "post_attention_layernorm")
            )
    add("vision.patch_embed.proj", "conv2d", 2.8, num_matrices=9, num_evals=n)
    add("vision.stem.conv", "conv2d", 2.6, num_matrices=9)
    add("lm_head", "linear", 120.0)
    add("adapter.merged", "linear", 3.0, zeros=n // 3)
    no_tail = {name: nan for name in ("alpha", "alpha_lo", "alpha_hi", "sigma", "xmin", "xmax", "D", "num_pl_spikes")}
    no_tail |= {"alpha_hill": nan, "alpha_weighted": nan, "log_alpha_norm": nan, "warning": "", "tail": ""}
    add("head.bias_mixer", "linear", 3.0, reason="fewer than 10 eigenvalues above the floor", **no_tail)
    rows.append(
        Row(name="model.broken", kind="linear", dtype="float32", status="failed", reason="3 of 147456 numbers are NaN")
    )
    rows.append(
        Row(
            name="model.packed",
            kind="linear",
            dtype="int4",
            status="unsupported",
            reason="packed 4-bit integers without a known scale",
        )
    )
    if hostile:
        add(HOSTILE, "linear", 3.0)
    if noise:
        rows = [
            replace(row, sigma_mp=0.5, bulk_edge=1.1, mp_softrank=0.1, num_spikes=12, num_traps=0, rand_distance=0.3)
            if row.status == "ok"
            else row
            for row in rows
        ]
    source = {"name": "synthetic-transformer-7B", "format": "safetensors", "files": ["model.safetensors"]}
    source["notes"] = ["lm_head is stored apart from model.embed_tokens"]
    settings = {"conv": "slices", "convention": "default", "nulls": 0, "bootstrap": 0, "seed": 0}
    return ModelReport(source, settings, {}, tuple(rows), spectra, "0.1.0")


def noisy_stacks(seed=5):
    """Matrices by name: noise, with spikes, with a trap of each kind, pooled, square; a power law; too small."""
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal
    spiked, trapped = normal((300, 120)), normal((400, 150))
    for scale in (4.0, 5.0, 6.0):
        u, v = normal(300), normal(120)
        spiked += scale * 300**0.5 * np.outer(u / np.linalg.norm(u), v / np.linalg.norm(v))
    trapped[10, 20], trapped[:, 99], trapped[300] = 80.0, 5 * trapped[:, 99], 6 * trapped[300]
    left, right = np.linalg.qr(normal((200, 200)))[0], np.linalg.qr(normal((100, 100)))[0]
    return {
        "pure": normal((1, 200, 100)),
        "spiked": spiked[None],
        "trapped": trapped[None],
        "pooled": np.stack([normal((100, 50)), 2 * normal((100, 50)), 3 * normal((100, 50))]),
        "square": normal((1, 128, 128)),
        "heavy": (left[:, :100] * np.arange(1, 101) ** -1.0 @ right)[None],
        "small": normal((1, 40, 8)),
    }


def diagnosed(stacks, wanted):
    """Layers of those matrices, diagnosed in earnest."""
    layers = []
    for name, stack in stacks.items():
        spectrum, matrices = spectrum_of_stack(stack, "float64"), [lambda _, W=W: [W] for W in stack]
        measured = measure(spectrum, matrices, wanted, name=name, dtype="float64")
        layers.append(diagnose_layer(measured, wanted, name=name, kind="linear", dtype="float64"))
    return layers


def noisy(nulls=3, vectors=True):
    """A report of noise, with signals and without."""
    layers = diagnosed(noisy_stacks(), Wanted(nulls=nulls, vectors=vectors))
    rows = tuple(layer.row for layer in layers)
    noise = {layer.row.name: layer.noise for layer in layers}
    return ModelReport(
        {"name": "noisy"},
        {"convention": "default", "nulls": nulls},
        summarise(rows, noise),
        rows,
        {layer.row.name: layer.spectrum for layer in layers},
        "0.1.0",
        {layer.row.name: layer.tail for layer in layers},
        noise=noise,
        vectors={layer.row.name: layer.vectors for layer in layers if layer.vectors},
    )


def tails_of(seed=3):
    """Spectra by name: of a power law, an exponential, one that hangs on its largest, and ones that say little."""
    rng = np.random.default_rng(seed)
    straight = np.sort((1 - rng.random(600)) ** -0.5)  # density x^-3
    tail = (np.arange(0.5, 90) / 90) ** -1.0  # density x^-2 above 1
    knot = 100 * (np.arange(0.5, 12) / 12) ** -0.2  # a dozen points, density x^-6 above 100
    return {
        "straight": of(straight),
        "bent": of(np.sort(rng.exponential(2.0, 1500))),
        "knotted": of(np.sort([*tail, *knot])),
        "short": of(np.sort((1 - rng.random(25)) ** -0.5)),
        "paired": of(np.repeat(straight[::2], 2), method="operator"),
        "tiny": of(np.arange(1.0, 9.0)),
    }


def matrix_of(found):
    """A matrix with the eigenvalues of a spectrum, those reflected at two planes."""
    n = found.M
    v = np.ones(n) / sqrt(n)
    W = np.diag(np.sqrt(found.evals))
    W -= 2 * np.outer(W @ v, v)
    W -= 2 * np.outer(v, v @ W)
    return np.concatenate([W, W]) / sqrt(2)


def tailed(replicates=40):
    """A report of those spectra, their tails found in earnest."""
    spectra = tails_of()
    tails = {}
    for name, found in spectra.items():
        matrices = [] if found.method == "operator" else [lambda _, found=found: [matrix_of(found)]]
        tails[name] = find_tail(found, measure_tail(found, matrices, farms=True), replicates)
    rows = tuple(
        diagnose(spectra[name], tail, name=name, kind="linear", dtype="float64") for name, tail in tails.items()
    )
    settings = {"convention": "default", "bootstrap": replicates}
    return ModelReport({"name": "tailed"}, settings, summarise(rows), rows, spectra, "0.1.0", tails)


def likely(phase, most=0.9):
    """Probabilities of the six phases that give one the most and the others an equal share of the rest."""
    return {name: most if name == phase else (1 - most) / 5 for name in PHASES}


def narrow(N, M, normal):
    """A matrix whose singular values are nearly equal."""
    left, right = np.linalg.qr(normal((N, M)))[0], np.linalg.qr(normal((M, M)))[0]
    return left * np.linspace(1, 1.1, M) @ right


@cache
def uneven(phase="bulk-decay"):
    """A report of Gaussian noise with rows of unequal size, whose phase is given."""
    rng = np.random.default_rng(11)
    W = rng.standard_normal((1000, 500)) * np.exp(0.3 * rng.standard_normal((1000, 1)))
    (layer,) = diagnosed({"uneven": W[None]}, Wanted())
    found = replace(layer.phase, probabilities=likely(phase))
    row = replace(layer.row, **found.columns())
    return ModelReport(
        {"name": "uneven"},
        {"convention": "default"},
        summarise((row,), {"uneven": layer.noise}),
        (row,),
        {"uneven": layer.spectrum},
        "0.1.0",
        phases={"uneven": found},
        noise={"uneven": layer.noise},
    )


def phased(seed=2):
    """A report of a matrix of each phase and of others; the phases are given.

    The others are one between phases, one narrower than noise, a pooled one, one with such a narrow one in it, and one
    too small.
    """
    normal = np.random.default_rng(seed).standard_normal
    stacks = {name: draw_phase(name, 160, 90, seed + i).matrix[None] for i, name in enumerate(PHASES)}
    stacks |= {"between": normal((1, 160, 90)), "narrow": narrow(160, 90, normal)[None], "pooled": normal((4, 80, 40))}
    stacks |= {"mixed": np.stack([normal((80, 40)), narrow(80, 40, normal), normal((80, 40))])}
    stacks |= {"small": normal((1, 40, 8))}
    given = {name: likely(name) for name in PHASES}
    given |= {"pooled": likely(PHASES[0], 0.97), "mixed": likely(PHASES[0], 0.8), "between": likely(PHASES[3], 0.4)}
    layers = diagnosed(stacks, Wanted())
    phases = {layer.row.name: replace(layer.phase, probabilities=given.get(layer.row.name, {})) for layer in layers}
    rows = tuple(replace(layer.row, **phases[layer.row.name].columns()) for layer in layers)
    return ModelReport(
        {"name": "phased"},
        {"convention": "default"},
        summarise(rows),
        rows,
        {layer.row.name: layer.spectrum for layer in layers},
        "0.1.0",
        phases=phases,
    )
