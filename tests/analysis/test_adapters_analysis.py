"""Adapters in an analysis: one row for each adapted layer, from its factors."""

import json
import time
from concurrent.futures import ProcessPoolExecutor
from math import isnan
from multiprocessing import get_context

import numpy as np
import pytest
from analysis.runs import records
from cases import gaussian
from safetensors.numpy import save_file

import heavytail as ht
from heavytail.analysis import estimate
from heavytail.analysis.cache import digest_of
from heavytail.diagnosis.row import COLUMNS
from heavytail.weights.source import open_source

NUMBERS = [
    name for name in COLUMNS if name not in ("name", "kind", "dtype", "status", "reason", "tail", "warning", "phase")
]


def factors(module="base_model.model.fc", rows=90, columns=60, rank=6, seed=0):
    return {
        f"{module}.lora_A.weight": gaussian(rank, columns, seed=2 * seed).astype(np.float32),
        f"{module}.lora_B.weight": gaussian(rows, rank, seed=2 * seed + 1).astype(np.float32),
    }


def saved(folder, tensors, alpha=12, rank=6):
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "lora_alpha": alpha, "r": rank}))
    return folder


def formed(tensors, scale=2.0, module="base_model.model.fc"):
    A, B = (tensors[f"{module}.lora_{side}.weight"].astype(np.float64) for side in "AB")
    return scale * B @ A


def test_the_row_of_an_adapter_is_that_of_the_matrix_it_adds(tmp_path):
    tensors = factors()
    report = ht.analyze(saved(tmp_path / "a", tensors))
    (row,) = report.rows
    (truth,) = ht.analyze({"fc.weight": formed(tensors)}).rows
    assert (row.name, row.kind, row.dtype, row.status) == ("fc", "lora", "float32", "ok")
    assert report.source["notes"] == ["a LoRA adapter of 1 layer, rank 6, scaling 2"]
    assert (row.N, row.M, row.num_evals, row.matrix_rank, row.rank_loss) == (90, 60, 60, 6, 54)
    for name in ("norm", "lambda_max", "stable_rank", "entropy", "log_norm", "log_spectral_norm"):
        assert getattr(row, name) == pytest.approx(getattr(truth, name), rel=1e-12)
    spectrum = report.spectra["fc"]
    assert spectrum.method == "factors"
    values = np.linalg.svd(formed(tensors), compute_uv=False)[::-1]
    assert np.abs(np.sqrt(spectrum.evals) - values).max() <= 1e-12 * values[-1]
    assert np.count_nonzero(spectrum.evals) == 6
    # What is of low rank by its making is not a weight matrix that collapsed.
    assert row.reason == "of rank 6 by its making: no tail, no noise bulk, no phase"
    assert row.phase == ""
    assert truth.phase == "rank-collapse"


def test_a_tail_is_fitted_to_what_an_adapter_of_enough_rank_has(tmp_path):
    tensors = factors(rows=200, columns=150, rank=30)
    tensors["base_model.model.fc.lora_B.weight"] *= np.arange(1, 31, dtype=np.float32) ** -1.0
    (row,) = ht.analyze(saved(tmp_path / "a", tensors, alpha=60, rank=30)).rows
    (truth,) = ht.analyze({"fc.weight": formed(tensors)}).rows
    for name in ("alpha", "alpha_lo", "alpha_hi", "xmin", "D", "alpha_hill"):
        assert getattr(row, name) == pytest.approx(getattr(truth, name), rel=1e-9)
    assert isnan(row.num_spikes)
    assert isnan(row.tail_score)


def test_an_adapter_that_was_not_trained_says_that_every_entry_is_zero(tmp_path):
    tensors = factors()
    tensors["base_model.model.fc.lora_B.weight"][:] = 0
    (row,) = ht.analyze(saved(tmp_path / "a", tensors)).rows
    assert (row.status, row.reason, row.matrix_rank, row.norm) == ("ok", "every entry is zero", 0, 0.0)


def test_a_factor_that_is_not_finite_fails_its_row_alone(tmp_path):
    tensors = factors() | factors("base_model.model.bad")
    tensors["base_model.model.bad.lora_A.weight"][0, 0] = np.nan
    rows = {row.name: row for row in ht.analyze(saved(tmp_path / "a", tensors)).rows}
    assert rows["fc"].status == "ok"
    assert (rows["bad"].status, rows["bad"].reason) == ("failed", "1 NaN among 900 entries of its factors")


def test_a_product_of_low_rank_is_never_formed(tmp_path, monkeypatch):
    folder = saved(tmp_path / "a", factors(rows=200, columns=150, rank=30))
    truth = ht.analyze(folder).rows

    def never(*_):
        raise AssertionError("the product was formed")

    monkeypatch.setattr("heavytail.spectra.factors._scaled_product", never)
    monkeypatch.setattr("heavytail.weights.products._scaled", never)
    assert repr(ht.analyze(folder).rows) == repr(truth)
    assert ht.analyze(folder, bootstrap=40, cache=tmp_path / "cache").rows[0].status == "ok"
    (row,) = ht.analyze(saved(tmp_path / "b", factors(rank=40))).rows  # a bulk of noise is told by the entries
    assert "the product was formed" in row.reason


@pytest.mark.parametrize("wide", [False, True])
def test_a_product_of_full_rank_has_the_noise_of_the_formed_matrix(tmp_path, wide):
    noise = gaussian(300, 200, seed=1)
    noise[:, 0] *= 4  # beyond the bulk
    orthogonal = np.linalg.qr(gaussian(200, 200, seed=2))[0]
    left, right = (orthogonal, noise.T) if wide else (noise, orthogonal)
    tensors = {
        "base_model.model.fc.lora_A.weight": np.ascontiguousarray(right),
        "base_model.model.fc.lora_B.weight": np.ascontiguousarray(left),
    }
    report = ht.analyze(saved(tmp_path / "a", tensors, 400, 200), nulls=2, vectors=True)
    truth = ht.analyze({"fc.weight": formed(tensors)}, nulls=2, vectors=True)
    assert report.spectra["fc"].method == "factors"
    assert report.rows[0].num_spikes == 1
    for name in NUMBERS:
        assert getattr(report.rows[0], name) == pytest.approx(getattr(truth.rows[0], name), rel=1e-6, nan_ok=True), name


def test_what_is_asked_for_of_the_entries_is_measured_at_low_rank_too(tmp_path):
    tensors = factors(rows=200, columns=150, rank=30)
    report = ht.analyze(saved(tmp_path / "a", tensors, 60, 30), nulls=3, vectors=True)
    truth = ht.analyze({"fc.weight": formed(tensors)}, nulls=3, vectors=True)
    assert report.rows[0].num_traps == truth.rows[0].num_traps == 0
    assert report.rows[0].rand_distance > 0.5
    found, want = ({(v.side, v.part, v.measure): v.mean for v in each.vectors["fc"]} for each in (report, truth))
    assert ("left", "tail", "entropy") in found
    assert found == pytest.approx(want, rel=1e-6)


def test_a_change_of_a_large_embedding_takes_little():
    tensors = {
        "base_model.model.embed.lora_embedding_A": gaussian(16, 128_256, seed=1).astype(np.float32),
        "base_model.model.embed.lora_embedding_B": gaussian(8192, 16, seed=2).astype(np.float32),
    }
    (cost,) = estimate(tensors).costs
    assert cost.memory < 200e6  # its product has 8.4e9 bytes
    assert cost.operations < 1e9
    assert cost.bytes == 4 * 16 * (128_256 + 8192)
    start = time.perf_counter()
    (row,) = ht.analyze(tensors, jobs=1).rows
    assert time.perf_counter() - start < 10
    assert (row.N, row.M, row.matrix_rank) == (128_256, 8192, 16)
    A, B = (tensors[f"base_model.model.embed.lora_embedding_{side}"].astype(np.float64) for side in "AB")
    # The trace of Delta Delta^T is that of (A A^T)(B^T B).
    assert row.norm == pytest.approx(np.trace((A @ A.T) @ (B.T @ B)), rel=1e-12)


@pytest.mark.parametrize("conv", ["slices", "unfold", "operator"])
def test_the_change_of_a_convolution_is_read_as_a_convolution(conv):
    A, B = gaussian(4, 16, 3, 3, seed=1), gaussian(32, 4, 1, 1, seed=2)
    report = ht.analyze({"c.lora_down.weight": A, "c.lora_up.weight": B}, conv=conv)
    kernel = np.einsum("or,rikl->oikl", B[:, :, 0, 0], A)
    truth = ht.analyze({"c.weight": kernel}, conv=conv)
    assert report.rows[0].kind == truth.rows[0].kind == "conv2d"
    assert report.rows[0].matrix_rank == truth.rows[0].matrix_rank
    assert report.rows[0].norm == pytest.approx(truth.rows[0].norm, rel=1e-12)
    assert estimate({"c.lora_down.weight": A, "c.lora_up.weight": B}, conv=conv).costs[0].memory >= kernel.nbytes


def test_other_factors_and_another_scale_are_other_numbers():
    def digest(seed=0, alpha=1.0):
        (tensor,) = open_source(factors(seed=seed) | {"base_model.model.fc.alpha": np.array(alpha)}).tensors
        return digest_of(tensor)

    assert digest() == digest()
    assert len({digest(), digest(seed=1), digest(alpha=2.0)}) == 3
    swapped = factors()
    swapped["base_model.model.fc.lora_B.weight"] = swapped["base_model.model.fc.lora_B.weight"][::-1].copy()
    (tensor,) = open_source(swapped).tensors
    (same,) = open_source(factors()).tensors
    assert digest_of(tensor) != digest_of(same)


def test_a_cache_keeps_a_row_until_its_scaling_changes(tmp_path):
    folder, cache = saved(tmp_path / "a", factors()), tmp_path / "cache"
    first = ht.analyze(folder, cache=cache).rows
    kept = records(cache)
    assert repr(ht.analyze(folder, cache=cache).rows) == repr(first)
    assert records(cache) == kept
    saved(folder, factors(), alpha=24)
    (row,) = ht.analyze(folder, cache=cache).rows
    assert row.norm == pytest.approx(4 * first[0].norm, rel=1e-12)


def test_processes_give_the_same_rows(tmp_path):
    tensors = {}
    for i in range(4):
        tensors |= factors(f"base_model.model.fc{i}", seed=i)
    folder = saved(tmp_path / "a", tensors)
    here = ht.analyze(folder, jobs=1)
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        there = ht.analyze(folder, executor=executor)
    assert repr(there.rows) == repr(here.rows) == repr(ht.analyze(folder, jobs=3).rows)


def test_weightwatchers_convention_reads_the_formed_matrix(tmp_path):
    tensors = factors(rank=20)
    folder = saved(tmp_path / "a", tensors, 40, 20)
    (row,) = ht.analyze(folder, convention="weightwatcher").rows
    (truth,) = ht.analyze({"fc.weight": formed(tensors)}, convention="weightwatcher").rows
    assert row.status == "ok"
    assert row.norm == pytest.approx(truth.norm, rel=1e-12)
    assert row.alpha == pytest.approx(truth.alpha, rel=1e-6)


def test_a_memory_limit_that_the_product_would_break_is_kept(tmp_path):
    tensors = factors(rows=20_000, columns=20_000, rank=8)
    (row,) = ht.analyze(saved(tmp_path / "a", tensors), memory_limit="1GB", jobs=1).rows
    assert (row.status, row.matrix_rank) == ("ok", 8)
