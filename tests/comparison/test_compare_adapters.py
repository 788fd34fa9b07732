"""An adapter against its base: what it says of each layer is what the merged model says."""

import json
from functools import partial

import ml_dtypes
import numpy as np
import pytest
from cases import gaussian
from safetensors.numpy import save_file

from heavytail.comparison import compare as compare_models
from heavytail.errors import RequestError

compare = partial(compare_models, bootstrap=0)

BASE = {
    "model.q.weight": (96, 64),
    "model.k.weight": (64, 96),
    "model.c_attn.weight": (64, 192),
    "model.conv.weight": (64, 32, 3, 3),
    "model.one.weight": (64, 32, 1, 1),
    "model.embed.weight": (200, 48),
    "model.free.weight": (80, 70),
    "model.norm.weight": (64,),
}
CONFIG = {"peft_type": "LORA", "lora_alpha": 16, "r": 4, "target_modules": ["q", "k"]}
PEFT = "base_model.model.model."


def base():
    return {name: 0.05 * gaussian(*shape, seed=i).astype(np.float32) for i, (name, shape) in enumerate(BASE.items())}


def factors(module, out, into, r=4, kernel=(), seed=0):
    """The two factors of a layer, small beside its weight."""
    A = 0.02 * gaussian(r, into, *kernel, seed=seed).astype(np.float32)
    B = 0.02 * gaussian(out, r, *(1 for _ in kernel), seed=seed + 1).astype(np.float32)
    return {f"{PEFT}{module}.lora_A.weight": A, f"{PEFT}{module}.lora_B.weight": B}


def product(adapter, module):
    A, B = (adapter[f"{PEFT}{module}.lora_{side}.weight"].astype(np.float64) for side in "AB")
    return (B.reshape(len(B), -1) @ A.reshape(len(A), -1)).reshape(len(B), *A.shape[1:])


@pytest.fixture
def write(tmp_path):
    def written(adapter, config=CONFIG, name="adapter"):
        folder = tmp_path / name
        folder.mkdir()
        kind = "adapter_model" if config else "model"
        save_file({n: np.ascontiguousarray(a) for n, a in adapter.items()}, folder / f"{kind}.safetensors")
        if config:
            (folder / "adapter_config.json").write_text(json.dumps(config))
        return folder

    return written


def by_name(comparison):
    return {layer.row.name: layer for layer in comparison.layers}


def assert_equal(adapted, merged, *modules):
    """What is found of the adapter and of the merged model is equal, but for how the rank is told from rounding."""
    for name, layer in by_name(adapted).items():
        other = by_name(merged)[name]
        if not name.removeprefix("model.").startswith(modules):
            assert layer.row.change == "none"
            assert layer.row.relative_change == 0
            assert other.row.change == "none"
            continue
        assert layer.row.status == "ok"
        assert layer.row.relative_change == pytest.approx(other.row.relative_change, rel=1e-10)
        assert layer.row.relative_spectral_change == pytest.approx(other.row.relative_spectral_change, rel=1e-10)
        top = other.delta.spectrum.evals[-1]
        assert np.abs(layer.delta.spectrum.evals - other.delta.spectrum.evals).max() < 1e-10 * top
        assert np.abs(layer.tuned.spectrum.evals / other.tuned.spectrum.evals - 1).max() < 1e-10
        assert layer.row.delta_rank == other.row.delta_rank
        assert layer.row.change == other.row.change
        assert layer.row.suggested_rank == pytest.approx(other.row.suggested_rank, nan_ok=True)
        assert layer.row.overlap == pytest.approx(other.row.overlap, rel=1e-8)
        assert layer.row.metrics["alpha"].tuned == pytest.approx(
            other.row.metrics["alpha"].tuned, rel=1e-8, nan_ok=True
        )


@pytest.mark.parametrize(
    ("settings", "scales"),
    [
        ({}, (4, 2)),
        ({"use_rslora": True}, (8, 16 / 8**0.5)),
        ({"rank_pattern": {"k": 8}}, (4, 2)),
        ({"rank_pattern": {"k": 8}, "alpha_pattern": {"k": 40}, "use_rslora": True}, (8, 40 / 8**0.5)),
    ],
    ids=["alpha over r", "over its root", "rank of a module", "alpha of a module"],
)
def test_an_adapter_says_what_the_merged_model_says(write, settings, scales):
    adapter = factors("q", 96, 64) | factors("k", 64, 96, r=8, seed=5)
    weights = {name: W.astype(np.float64) for name, W in base().items()}
    merged = dict(weights)
    for module, scale in zip("qk", scales, strict=True):
        merged[f"model.{module}.weight"] = weights[f"model.{module}.weight"] + scale * product(adapter, module)
    adapted = compare(base(), write(adapter, CONFIG | settings), jobs=1)
    assert_equal(adapted, compare(weights, merged, jobs=1), "q", "k")
    rows = {row.name: row for row in adapted.rows}
    assert [(rows[f"model.{m}"].change, rows[f"model.{m}"].delta_rank) for m in "qk"] == [
        ("low rank", 4),
        ("low rank", 8),
    ]


def test_an_adapter_of_a_convolution_is_added_to_its_kernels(write):
    adapter = factors("conv", 64, 32, kernel=(3, 3)) | factors("one", 64, 32, kernel=(1, 1), seed=5)
    weights = {name: W.astype(np.float64) for name, W in base().items()}
    added = {f"model.{module}.weight": 4 * product(adapter, module) for module in ("conv", "one")}
    merged = {name: W + added.get(name, 0) for name, W in weights.items()}
    adapted = compare(base(), write(adapter), jobs=1)
    assert_equal(adapted, compare(weights, merged, jobs=1), "conv", "one")
    assert {by_name(adapted)[f"model.{m}"].row.change for m in ("conv", "one")} == {"low rank"}


@pytest.mark.parametrize("turned", [True, False])
def test_an_adapter_of_a_fused_projection_is_split_as_that_is(write, turned):
    """GPT-2 stores (in, out); whether the configuration says so or only the shape does, the parts are q, k and v."""
    adapter = factors("c_attn", 192, 64)
    weights = {name: W.astype(np.float64) for name, W in base().items()}
    merged = weights | {"model.c_attn.weight": weights["model.c_attn.weight"] + 4 * product(adapter, "c_attn").T}
    adapted = compare(base(), write(adapter, CONFIG | {"fan_in_fan_out": turned}), jobs=1)
    assert_equal(adapted, compare(weights, merged, jobs=1), "c_attn")
    assert [by_name(adapted)[f"model.c_attn:{part}"].row.delta_rank for part in "qkv"] == [4, 4, 4]


def test_a_chosen_part_of_a_fused_projection_is_that_part(write):
    folder = write(factors("c_attn", 192, 64), CONFIG | {"fan_in_fan_out": True})
    every = by_name(compare(base(), folder, jobs=1))
    chosen = by_name(compare(base(), folder, jobs=1, layers="*c_attn:k"))
    assert list(chosen) == ["model.c_attn:k"]
    assert chosen["model.c_attn:k"].row.as_dict() == pytest.approx(every["model.c_attn:k"].row.as_dict(), nan_ok=True)


def test_a_small_adapter_of_a_fused_projection_in_few_bits_keeps_its_rank(write):
    """The merged weight is never rounded, so neither is its difference from the base."""
    adapter = {name: 1e-2 * W for name, W in factors("c_attn", 192, 64).items()}
    weights = {name: W.astype(ml_dtypes.bfloat16) for name, W in base().items()}
    adapted = compare(weights, write(adapter, CONFIG | {"fan_in_fan_out": True}), jobs=1)
    assert [by_name(adapted)[f"model.c_attn:{part}"].row.delta_rank for part in "qkv"] == [4, 4, 4]


def test_an_adapter_of_an_embedding_is_turned(write):
    A, B = (0.02 * gaussian(*shape, seed=i).astype(np.float32) for i, shape in enumerate([(4, 200), (48, 4)]))
    adapter = {f"{PEFT}embed.lora_embedding_A": A, f"{PEFT}embed.lora_embedding_B": B}
    weights = {name: W.astype(np.float64) for name, W in base().items()}
    delta = 4 * (B.astype(np.float64) @ A.astype(np.float64)).T
    merged = weights | {"model.embed.weight": weights["model.embed.weight"] + delta}
    assert_equal(compare(base(), write(adapter), jobs=1), compare(weights, merged, jobs=1), "embed")


def test_dora_rescales_the_rows_of_the_merged_weight(write):
    lengths = 0.3 + 0.2 * np.abs(gaussian(96, seed=4)).astype(np.float32)
    adapter = factors("q", 96, 64) | {f"{PEFT}q.lora_magnitude_vector": lengths}
    weights = {name: W.astype(np.float64) for name, W in base().items()}
    V = weights["model.q.weight"] + 4 * product(adapter, "q")
    V *= lengths[:, None] / np.linalg.norm(V, axis=1, keepdims=True)
    adapted = by_name(compare(base(), write(adapter, CONFIG | {"use_dora": True}), jobs=1))["model.q"].row
    merged = by_name(compare(weights, weights | {"model.q.weight": V}, jobs=1))["model.q"].row
    assert adapted.relative_change == pytest.approx(merged.relative_change, rel=1e-10)
    assert adapted.delta_stable_rank == pytest.approx(merged.delta_stable_rank, rel=1e-10)


@pytest.mark.parametrize("name", [f"{PEFT}free.weight", f"{PEFT}free.modules_to_save.default.weight"])
def test_a_layer_that_was_trained_whole_beside_the_adapter_is_compared_as_a_weight(write, name):
    whole = base()["model.free.weight"] + 0.01 * gaussian(80, 70, seed=9).astype(np.float32)
    comparison = compare(base(), write(factors("q", 96, 64) | {name: whole}), jobs=1)
    row = by_name(comparison)["model.free"].row
    delta = whole.astype(float) - base()["model.free.weight"].astype(float)
    expected = np.linalg.norm(delta) / np.linalg.norm(base()["model.free.weight"].astype(float))
    assert (row.status, row.change) == ("ok", "noise")
    assert row.relative_change == pytest.approx(expected, rel=1e-10)
    assert comparison.summary["unmatched"] == 0


def test_layers_that_the_adapter_leaves_alone_did_not_change(write):
    rows = {row.name: row for row in compare(base(), write(factors("q", 96, 64)), jobs=1).rows}
    for name, row in rows.items():
        if name != "model.q":
            assert (row.change, row.relative_change, row.reason) == ("none", 0, "the adapter leaves it as it is")
            assert row.status == ("skipped" if name == "model.norm" else "ok")


def test_an_adapter_before_its_first_step_changes_nothing(write):
    adapter = factors("q", 96, 64)
    adapter[f"{PEFT}q.lora_B.weight"] = np.zeros((96, 4), np.float32)
    comparison = compare(base(), write(adapter), jobs=1)
    assert {row.change for row in comparison.rows} == {"none"}
    assert comparison.summary["relative_change"] == 0


def test_a_layer_of_an_adapter_of_another_size_is_a_mismatch(write):
    comparison = compare(base(), write(factors("q", 22, 33) | factors("k", 96, 64)), jobs=1)
    row = by_name(comparison)["model.q"].row
    assert (row.status, row.reason) == ("unmatched", "96 x 64 in the first model, 22 x 33 in the second")
    assert by_name(comparison)["model.k"].row.change == "low rank"


def test_an_adapter_none_of_whose_layers_fits_is_refused(write):
    with pytest.raises(RequestError) as error:
        compare(base(), write(factors("q", 22, 33)), jobs=1)
    assert "is an adapter of another model: none of its layers fits the base, where 'model.q.weight'" in str(
        error.value
    )
    assert "is 96 x 64 and not 22 x 33" in str(error.value)


def test_layers_that_the_base_lacks_are_in_the_second_model_alone(write):
    comparison = compare(base(), write(factors("q", 96, 64) | factors("more.up_proj", 50, 40)), jobs=1)
    (row,) = (row for row in comparison.rows if row.status == "unmatched")
    assert (row.name, row.reason) == ("model.more.up_proj", "is in the second model alone")


def test_an_adapter_of_another_model_is_refused(write):
    with pytest.raises(RequestError) as error:
        compare(base(), write(factors("deep.gate_proj", 22, 33)), jobs=1)
    text = str(error.value)
    assert "have no tensor in common: 'model.q.weight', 'model.k.weight' against 'model.deep.gate_proj.weight'" in text
    assert "\n" not in text


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_an_adapter_of_sd_scripts_writes_dots_as_underscores_and_its_alpha_beside(write, prefix):
    names = [f"{prefix}down_blocks.{i}.attn.to_q.weight" for i in range(3)]
    weights = {name: 0.05 * gaussian(48, 40, seed=i) for i, name in enumerate(names)}
    adapter, merged = {}, dict(weights)
    for i, (name, W) in enumerate(list(weights.items())[:2]):
        down, up = gaussian(4, 40, seed=10 + i).astype(np.float32), gaussian(48, 4, seed=20 + i).astype(np.float32)
        module = f"lora_unet_{name.removeprefix(prefix).removesuffix('.weight').replace('.', '_')}"
        adapter |= {f"{module}.lora_down.weight": down, f"{module}.lora_up.weight": up}
        adapter |= {f"{module}.alpha": np.array(0.02, np.float32)}
        merged[name] = W + float(np.float32(0.02)) / 4 * (up.astype(np.float64) @ down.astype(np.float64))
    adapted, expected = (by_name(compare(weights, one, jobs=1)) for one in (write(adapter, None), merged))
    assert [layer.row.change for layer in adapted.values()] == ["low rank", "low rank", "none"]
    for name, layer in adapted.items():
        assert layer.row.relative_change == pytest.approx(expected[name].row.relative_change, rel=1e-9)


def test_two_adapters_are_compared_as_what_they_add(write):
    first, second = factors("q", 96, 64) | factors("k", 64, 96), factors("q", 96, 64) | factors("k", 64, 96, seed=7)
    rows = {row.name: row for row in compare(write(first), write(second, name="second"), jobs=1).rows}
    delta = product(second, "k") - product(first, "k")
    assert set(rows) == {"model.q", "model.k"}
    assert rows["model.q"].change == "none"
    assert rows["model.k"].relative_change == pytest.approx(
        np.linalg.norm(delta) / np.linalg.norm(product(first, "k")), rel=1e-9
    )
    assert rows["model.k"].delta_rank == 8


def test_an_adapter_in_the_place_of_the_base_is_refused(write):
    folder = write(factors("q", 96, 64))
    with pytest.raises(RequestError) as error:
        compare(folder, base())
    assert str(error.value) == f"{folder} is an adapter and mapping is none; the base comes first"


def test_a_quantised_base_takes_an_adapter_as_the_numbers_that_it_stands_for(write):
    scales = (1 + np.arange(96, dtype=np.float32)[:, None]) / 1000
    codes = gaussian(96, 64).astype(ml_dtypes.float8_e4m3fn)
    quantised = {"model.q.weight": codes, "model.q.weight_scale": scales}
    adapter = factors("q", 96, 64)
    full = codes.astype(np.float64) * scales
    merged = {"model.q.weight": full + 4 * product(adapter, "q")}
    adapted = by_name(compare(quantised, write(adapter), jobs=1))["model.q"]
    expected = by_name(compare({"model.q.weight": full}, merged, jobs=1))["model.q"]
    assert "float8" in adapted.row.base_dtype
    assert adapted.row.relative_change == pytest.approx(expected.row.relative_change, rel=1e-6)
    assert adapted.tuned.spectrum.evals == pytest.approx(expected.tuned.spectrum.evals, rel=1e-6)
    assert (adapted.row.change, adapted.row.delta_rank) == ("low rank", 4)
