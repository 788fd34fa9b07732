"""Two models side by side: every tensor has a row, frozen ones are found exactly, numbers are those of numpy."""

import json
import re
from functools import cache, partial
from itertools import pairwise
from math import isfinite, nan

import numpy as np
import pandas as pd
import pytest
from cases import gaussian, low_rank, numpy_type, source, student, zoo
from cases import tensor as described
from safetensors.numpy import save_file

from heavytail.analysis.memory import resident, size_of
from heavytail.comparison import compare as compare_models
from heavytail.comparison.row import COLUMNS, DEFINITIONS, KINDS_OF_CHANGE, METRICS, SCHEMA_VERSION
from heavytail.errors import RequestError, SourceError
from heavytail.spectra.entries import turned
from heavytail.weights.tensor import Tensor

compare = partial(compare_models, bootstrap=0)


def moved(W, relative=0.01, seed=7):
    noise = gaussian(*W.shape, seed=seed)
    return W + relative * np.linalg.norm(W) / np.linalg.norm(noise) * noise


def rows_of(base, tuned, **settings):
    return {row.name: row for row in compare(base, tuned, jobs=1, **settings).rows}


def model():
    """A tensor of every kind that gives rows, and some that give none."""
    return {
        "embed.weight": gaussian(120, 60, seed=1).astype(np.float32),
        "attn.qkv.weight": student(120, 40, df=3, seed=3).astype(np.float32),
        "conv.weight": gaussian(32, 20, 3, 3, seed=2).astype(np.float32),
        "depth.weight": gaussian(40, 1, 3, 3, seed=8).astype(np.float32),
        "experts": gaussian(3, 60, 50, seed=6).astype(np.float16),
        "lstm.weight_ih_l0": gaussian(80, 30, seed=4).astype(np.float32),
        "lstm.weight_hh_l0": gaussian(80, 20, seed=5).astype(np.float32),
        "wide.weight": low_rank(60, 90, 40).astype(np.float32),
        "norm.weight": np.ones(60, np.float32),
        "step": np.array(3.0),
    }


def changed(relative=0.01):
    return {
        name: (moved(W.astype(float), relative, i) if W.ndim else W).astype(W.dtype)
        for i, (name, W) in enumerate(model().items(), 20)
    }


@cache
def comparison_of_models():
    return compare(model(), changed(), jobs=1)


def matrices(name, W, conv="slices"):
    """The matrices of each of a tensor's rows, by the rows' names, as the documentation of the layout says."""
    W = W.astype(np.float64)
    if name == "attn.qkv.weight":
        return {f"attn.qkv:{part}": [W[i * 40 : (i + 1) * 40]] for i, part in enumerate("qkv")}
    if name.startswith("lstm."):
        return {f"{name}:{gate}": [W[i * 20 : (i + 1) * 20]] for i, gate in enumerate("ifgo")}
    if name == "experts":
        return {f"experts:{e}": [W[e]] for e in range(3)}
    if name == "conv.weight":
        slices = [W[:, :, i, j] for i in range(3) for j in range(3)]
        return {"conv": slices if conv == "slices" else [W.reshape(32, -1)]}
    if name == "depth.weight":
        return {"depth": [W[c].reshape(1, 9) for c in range(40)]}
    return {name.removesuffix(".weight"): [W]} if W.ndim == 2 else {}


@pytest.mark.parametrize("conv", ["slices", "unfold"])
def test_the_numbers_of_a_change_are_those_of_numpy_for_every_kind_of_tensor(conv):
    before, after = model(), changed()
    rows = {
        row.name: row
        for row in (comparison_of_models() if conv == "slices" else compare(before, after, conv=conv)).rows
    }
    seen = 0
    for name in before:
        ours, theirs = matrices(name, before[name], conv), matrices(name, after[name], conv)
        for part in ours:
            row = rows[part]
            W, delta = ours[part], [b - a for a, b in zip(ours[part], theirs[part], strict=True)]
            squares, base = sum((d**2).sum() for d in delta), sum((w**2).sum() for w in W)
            top, top_base = (max(np.linalg.norm(one, 2) for one in many) ** 2 for many in (delta, W))
            assert row.status == "ok"
            assert row.num_matrices == len(W)
            assert row.relative_change == pytest.approx((squares / base) ** 0.5, rel=1e-9)
            assert row.relative_spectral_change == pytest.approx((top / top_base) ** 0.5, rel=1e-9)
            assert row.delta_norm == pytest.approx(squares, rel=1e-9)
            assert row.delta_lambda_max == pytest.approx(top, rel=1e-9)
            assert row.delta_stable_rank == pytest.approx(squares / top, rel=1e-9)
            assert row.metrics["log_norm"].base == pytest.approx(np.log10(base), rel=1e-9)
            assert row.metrics["stable_rank"].base == pytest.approx(base / top_base, rel=1e-9)
            seen += 1
    assert seen == sum(row.status == "ok" for row in rows.values()) == 18


def test_vectors_tell_how_far_they_moved_and_single_numbers_do_not():
    before = {"fc.weight": gaussian(40, 30), "fc.bias": gaussian(40), "same": np.ones(7), "step": np.array(3.0)}
    after = before | {"fc.weight": gaussian(40, 30, seed=1), "fc.bias": before["fc.bias"] + 0.5, "step": np.array(4.0)}
    rows = rows_of(before, after)
    expected = 0.5 * 40**0.5 / np.linalg.norm(before["fc.bias"])
    assert (rows["fc.bias"].status, rows["fc.bias"].change) == ("skipped", "")
    assert rows["fc.bias"].relative_change == pytest.approx(expected, rel=1e-12)
    assert (rows["same"].change, rows["same"].relative_change) == ("none", 0)
    assert (rows["step"].status, isfinite(rows["step"].relative_change)) == ("skipped", False)
    summary = compare(before, after, jobs=1).summary
    assert (summary["vectors"], summary["vectors_changed"]) == (2, 1)


@pytest.mark.parametrize("shape", [(60, 40), (40, 60), (50, 50)])
@pytest.mark.parametrize("k", [1, 5])
def test_the_angles_between_leading_directions_are_those_of_numpy(shape, k):
    W = student(*shape, df=3)
    tuned = moved(W, 0.4)
    row = rows_of({"w.weight": W}, {"w.weight": tuned}, directions=k)["w"]
    (U0, _, V0), (U1, _, V1) = (np.linalg.svd(one) for one in (W, tuned))
    sides = (V0[:k] @ V1[:k].T, U0[:, :k].T @ U1[:, :k])
    cosines = np.concatenate([np.linalg.svd(side, compute_uv=False) for side in sides])
    assert row.directions == k
    assert row.overlap == pytest.approx(np.mean(cosines**2), rel=1e-9)
    assert row.largest_angle == pytest.approx(np.degrees(np.arccos(cosines.min())), rel=1e-6)
    rank = min(shape)  # vectors of the longer side beyond it belong to no singular value
    nearest = np.abs(V0[:rank] @ V1[:k].T).max(axis=0), np.abs(U0[:, :rank].T @ U1[:, :k]).max(axis=0)
    assert row.intruders == (np.array(nearest) < 0.5).any(axis=0).sum()


def test_a_direction_that_the_base_lacks_is_an_intruder():
    """Shuttleworth et al. 2024: a leading direction of the tuned matrix that is near none of the base's."""
    W = gaussian(120, 80)
    u, v = gaussian(120, seed=5), gaussian(80, seed=6)
    strong = 3 * np.linalg.norm(W, 2) * np.outer(u, v) / np.linalg.norm(u) / np.linalg.norm(v)
    rows = rows_of({"w.weight": W, "v.weight": W + 1}, {"w.weight": W + strong, "v.weight": 1.5 * (W + 1)})
    assert (rows["w"].intruders, rows["v"].intruders) == (1, 0)
    assert rows["v"].overlap == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("shape", [(60, 40), (40, 60), (50, 50)])
@pytest.mark.parametrize("side", ["outputs", "inputs"])
def test_a_rotation_of_the_outputs_or_of_the_inputs_makes_all_directions_intruders(shape, side):
    W = gaussian(*shape)
    q = np.linalg.qr(gaussian(*2 * [shape[side == "inputs"]], seed=7))[0]
    comparison = compare({"w.weight": W}, {"w.weight": q @ W if side == "outputs" else W @ q}, jobs=1)
    assert comparison.rows[0].intruders == comparison.rows[0].directions == 10
    far = (np.array(comparison.as_dict()["directions"]["w"][0]["nearest_hi"]) < 0.5).all(axis=1)
    narrow = "inputs" if shape[0] >= shape[1] else "outputs"
    assert list(far) == [side == narrow, side != narrow]


# Frozen layers.


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_one_bit_of_one_entry_is_no_frozen_layer(dtype):
    W = gaussian(40, 30).astype(numpy_type(dtype))
    other = W.copy()
    other.view(f"u{W.dtype.itemsize}")[17, 3] ^= 1
    rows = rows_of({"a.weight": W, "b.weight": W + 1}, {"a.weight": W.copy(), "b.weight": W + 1})
    assert {row.change for row in rows.values()} == {"none"}
    row = rows_of({"a.weight": W}, {"a.weight": other})["a"]
    assert row.change != "none"
    assert row.relative_change > 0


def test_a_frozen_layer_has_no_change_of_anything():
    rows = rows_of(model(), {name: W.copy() for name, W in model().items()})
    for row in rows.values():
        if row.status == "ok":
            assert (row.change, row.relative_change, row.delta_rank, row.suggested_rank) == ("none", 0, 0, 0)
            for found in row.metrics.values():
                assert not isfinite(found.base) or found.lo == found.change == found.hi == 0


@pytest.mark.parametrize(
    ("name", "parts", "part"),
    [
        ("attn.qkv.weight", ["attn.qkv:q", "attn.qkv:k", "attn.qkv:v"], slice(40, 80)),
        ("experts", ["experts:0", "experts:1", "experts:2"], slice(1, 2)),
        ("lstm.weight_ih_l0", [f"lstm.weight_ih_l0:{gate}" for gate in "ifgo"], slice(20, 40)),
    ],
)
def test_the_frozen_parts_of_a_tensor_are_found_where_another_part_changed(name, parts, part):
    before, after = model(), model()
    after[name] = after[name].copy()
    after[name][part] *= 1.5
    rows = rows_of(before, after)
    assert {one: rows[one].change == "none" for one in parts} == {one: i != 1 for i, one in enumerate(parts)}
    assert rows[parts[0]].relative_change == rows[parts[0]].suggested_rank == 0
    assert rows[parts[1]].relative_change == pytest.approx(0.5, rel=1e-5)


def test_another_type_of_the_same_numbers_is_no_change():
    W = gaussian(60, 40).astype(numpy_type("bfloat16"))
    rows = rows_of({"a.weight": W, "b.weight": gaussian(60, 40).astype(np.float32)}, {
        "a.weight": W.astype(np.float32),
        "b.weight": gaussian(60, 40).astype(numpy_type("bfloat16")),
    })  # fmt: skip
    assert (rows["a"].change, rows["a"].base_dtype, rows["a"].tuned_dtype) == ("none", "bfloat16", "float32")
    assert rows["b"].change == "noise"


# Layouts.


@pytest.mark.parametrize("shape", [(90, 60), (128, 128)])
def test_a_matrix_under_another_name_that_is_laid_out_the_other_way_is_turned(shape):
    W = gaussian(*shape)
    tuned = moved(W)
    straight = rows_of({"fc.weight": W}, {"fc.weight": tuned})["fc"]
    turned = rows_of({"fc.weight": W}, {"anonymous_17": np.ascontiguousarray(tuned.T)})["fc"]
    assert turned.tuned_name == "anonymous_17"
    assert turned.relative_change == pytest.approx(straight.relative_change, rel=1e-12)
    assert turned.overlap == pytest.approx(straight.overlap, rel=1e-9)
    assert turned.delta_num_spikes == straight.delta_num_spikes


def test_fused_projections_and_gates_are_turned_as_a_whole():
    before = {name: W for name, W in model().items() if name.startswith(("attn", "lstm"))}
    after = {name: np.ascontiguousarray(changed()[name].T) for name in before}
    straight = {row.name: row for row in comparison_of_models().rows}
    turned = rows_of(before, after)
    assert len(turned) == 11
    for name, row in turned.items():
        assert row.status == "ok"
        assert row.relative_change == pytest.approx(straight[name].relative_change, rel=1e-12)


def test_a_kernel_in_another_order_is_said_to_be_of_another_shape():
    K = gaussian(64, 32, 3, 3)
    row = rows_of({"c.weight": K}, {"c.weight": np.ascontiguousarray(K.transpose(2, 3, 1, 0))})["c"]
    assert row.status == "unmatched"
    assert row.reason == "64 x 32 x 3 x 3 in the first model, 3 x 3 x 32 x 64 in the second"


def test_weights_that_are_tied_in_one_model_alone_are_compared():
    W, head = gaussian(80, 40), gaussian(80, 40, seed=3)
    tied = {"embed.weight": W, "head.weight": W}
    apart = {"embed.weight": W.copy(), "head.weight": head}
    for base, tuned in ((tied, apart), (apart, tied)):
        rows = rows_of(base, tuned)
        delta, norm = np.linalg.norm(W - head), np.linalg.norm(base["head.weight"])
        assert (rows["embed"].change, rows["head"].status) == ("none", "ok")
        assert rows["head"].relative_change == pytest.approx(delta / norm, rel=1e-12)
    rows = rows_of(tied, {"embed.weight": head, "head.weight": head})
    assert (rows["embed"].status, rows["head"].status) == ("ok", "skipped")


def test_what_a_live_module_knows_holds_for_its_checkpoint():
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 32, 4, stride=4), torch.nn.Conv2d(32, 64, 3, groups=2), torch.nn.ConvTranspose2d(64, 32, 2)
    )
    checkpoint = {name: 1.25 * W.detach().numpy().astype(float) for name, W in module.state_dict().items()}
    live = rows_of(module, module)
    for pair, relative in (((module, checkpoint), 0.25), ((checkpoint, module), 0.2)):
        rows = rows_of(*pair)
        for name in "012":
            row = rows[name]
            assert row.status == "ok"
            assert (row.kind, row.N, row.M, row.num_matrices) == (
                live[name].kind,
                live[name].N,
                live[name].M,
                live[name].num_matrices,
            )
            assert row.relative_change == pytest.approx(relative, rel=1e-12)


# What cannot be compared.


def test_what_one_model_lacks_or_has_in_another_shape_has_a_row_that_says_so():
    W = gaussian(40, 30)
    rows = rows_of(
        {"a.weight": W, "gone.x": W + 1, "shape.weight": gaussian(50, 20)},
        {"a.weight": W, "new.y": gaussian(25, 20), "shape.weight": gaussian(50, 21)},
    )
    assert list(rows) == ["a", "gone.x", "shape", "new.y"]
    assert (rows["gone.x"].status, rows["gone.x"].reason) == ("unmatched", "is in the first model alone")
    assert (rows["new.y"].status, rows["new.y"].reason) == ("unmatched", "is in the second model alone")
    assert (rows["new.y"].base_dtype, rows["new.y"].tuned_dtype) == ("", "float64")
    assert rows["shape"].reason == "50 x 20 in the first model, 50 x 21 in the second"
    assert rows["shape"].tuned_name == ""
    assert all(not isfinite(rows[name].relative_change) for name in ("gone.x", "new.y", "shape"))


def test_a_number_against_a_matrix_is_a_mismatch():
    W = gaussian(40, 30)
    rows = rows_of({"a.weight": W, "b": np.array(1.0)}, {"a.weight": W, "b": W + 1})
    assert rows["b"].reason == "a single number in the first model, 40 x 30 in the second"


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("side", ["base", "tuned"])
def test_a_number_that_is_not_finite_fails_its_own_row_alone(value, side):
    W = gaussian(40, 30)
    bad = W.copy()
    bad[2, 3] = value
    pair = [{"a.weight": W, "b.weight": W + 1}, {"a.weight": moved(W), "b.weight": moved(W + 1)}]
    pair[side == "tuned"]["a.weight"] = bad
    comparison = compare(*pair, jobs=1)
    rows = {row.name: row for row in comparison.rows}
    assert rows["a"].status == "failed"
    assert rows["a"].reason == f"1 {'NaN' if np.isnan(value) else 'infinite'} among 1200 entries"
    assert rows["b"].status == "ok"
    assert not comparison.complete
    assert rows["b"] == rows_of({"b.weight": W + 1}, {"b.weight": moved(W + 1)})["b"]


def test_what_cannot_be_read_is_unsupported_and_not_failed(monkeypatch):
    W = gaussian(40, 30)
    sources = {
        "first": source({"a.weight": W, "b.weight": described("b.weight", W, problem="it is encrypted")}),
        "second": source({"a.weight": W, "b.weight": described("b.weight", W, problem="it is encrypted")}),
        "whole": source({"a.weight": W, "b.weight": W + 1}),
    }
    monkeypatch.setattr("heavytail.analysis.pipeline.open_source", sources.__getitem__)
    rows = rows_of("first", "second")
    assert (rows["a"].status, rows["b"].status, rows["b"].reason) == ("ok", "unsupported", "it is encrypted")
    for pair in (("first", "whole"), ("whole", "first")):
        row = rows_of(*pair)["b"]
        assert row.status in ("unmatched", "unsupported")
        assert "it is encrypted" in row.reason


def test_a_tensor_that_breaks_while_it_is_read_fails_its_own_row_alone(monkeypatch):
    W = gaussian(40, 30)

    def broken(rows):
        yield W[:5]
        raise OSError("the disk is gone")

    sources = {
        "whole": source({"a.weight": W, "b.weight": W + 1}),
        "broken": source({"a.weight": moved(W), "b.weight": Tensor("b.weight", W.shape, "float64", broken)}),
    }
    monkeypatch.setattr("heavytail.analysis.pipeline.open_source", sources.__getitem__)
    for pair in (("whole", "broken"), ("broken", "whole")):
        rows = rows_of(*pair)
        assert (rows["a"].status, rows["b"].status) == ("ok", "failed")
        assert rows["b"].reason == "OSError: the disk is gone"


def test_a_base_of_zeros_has_an_infinite_relative_change_and_valid_json():
    W = gaussian(60, 40)
    comparison = compare({"w.weight": W * 0, "z.weight": W * 0}, {"w.weight": W, "z.weight": W * 0}, jobs=1)
    rows = {row.name: row for row in comparison.rows}
    assert (rows["w"].status, rows["w"].relative_change) == ("ok", np.inf)
    assert (rows["z"].change, rows["z"].relative_change) == ("none", 0)
    assert strict(comparison.to_json())["layers"][0]["relative_change"] is None
    assert comparison.summary["relative_change"] == np.inf
    beside = compare({"w.weight": W * 0, "v.weight": 2 * W}, {"w.weight": W, "v.weight": 2 * W}, jobs=1)
    assert beside.summary["relative_change"] == pytest.approx(0.5, rel=1e-12)
    gone = rows_of({"w.weight": W}, {"w.weight": W * 0})["w"]
    assert gone.relative_change == pytest.approx(1, rel=1e-12)


def test_every_odd_matrix_has_a_row_with_the_right_relative_change():
    before = zoo()
    after = {name: moved(W) if np.any(W) else W + 1e-3 for name, W in before.items()}
    rows = rows_of({f"{name}.weight": W for name, W in before.items()}, {f"{n}.weight": W for n, W in after.items()})
    for name, W in before.items():
        row = rows[name]
        assert row.status in ("ok", "skipped"), row.reason
        if np.any(W):
            assert row.relative_change == pytest.approx(0.01, rel=1e-6)
        assert row.change in ("", *KINDS_OF_CHANGE)
        assert row.change != "none"


def test_empty_tensors_are_the_same():
    W = gaussian(40, 30)
    empty = {"x": np.zeros((0, 5)), "y": np.zeros((5, 0)), "z": np.zeros(0)}
    rows = rows_of({"a.weight": W} | empty, {"a.weight": W} | empty)
    assert all((rows[name].status, rows[name].change) == ("skipped", "none") for name in empty)


# The whole.


def test_the_number_of_threads_changes_no_byte():
    one, two = (compare(model(), changed(), bootstrap=39, jobs=jobs) for jobs in (1, 2))
    assert one.to_json() == two.to_json()


def test_another_seed_changes_intervals_alone():
    first, second = (compare(model(), changed(), bootstrap=39, seed=seed, jobs=1) for seed in (0, 1))
    differing = set()
    for a, b in zip(first.table.to_dict("records"), second.table.to_dict("records"), strict=True):
        differing |= {column for column in COLUMNS if a[column] != b[column] and a[column] == a[column]}
    assert differing
    assert all(column.endswith(("_change_lo", "_change_hi")) and "alpha" in column for column in differing)
    again = compare(model(), changed(), bootstrap=39, seed=1, jobs=1)
    assert again.to_json() == second.to_json()


@pytest.mark.parametrize("shape", [pytest.param((1100, 9000), marks=pytest.mark.slow), (300, 15_000)])
def test_a_tight_memory_limit_changes_no_number(tmp_path, monkeypatch, shape):
    W = gaussian(*shape).astype(np.float32)
    paths = tmp_path / "base.safetensors", tmp_path / "tuned.safetensors"
    for path, one in zip(paths, (W, moved(W.astype(float)).astype(np.float32)), strict=True):
        save_file({"fc.weight": one}, path)
    panels = []

    def counting(tensor, size):
        panels.append(size)
        return turned(tensor, size)

    monkeypatch.setattr("heavytail.analysis.numbers.turned", counting)
    settings = {"jobs": 1, "directions": 3}
    free = compare(*paths, **settings).rows[0]
    assert not panels
    tight, room = free, 1e6
    while tight is free or "room for" in tight.reason:  # as much as it says that it lacks
        tight = compare(*paths, **settings, memory_limit=resident() + (64 << 20) + round(1.02 * room)).rows[0]
        if found := re.search(r"needs? (\S+ \S+) at once", tight.reason):
            assert size_of(found[1]) > room
            room = size_of(found[1])
    assert panels
    assert max(panels) < W.nbytes
    for column, value in free.as_dict().items():
        if isinstance(value, str):
            assert tight.as_dict()[column] == value
        else:
            assert tight.as_dict()[column] == pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True), column


def test_results_that_were_kept_are_the_same(tmp_path):
    pairs = ((model(), changed()), ({"a.weight": gaussian(50, 40)}, {"x_1": gaussian(50, 40).T * 1.1}))
    for base, tuned in pairs:
        fresh = compare(base, tuned, jobs=1).to_json()
        assert [compare(base, tuned, jobs=1, cache=tmp_path).to_json() for _ in range(2)] == [fresh, fresh]


def test_chosen_layers_have_the_rows_that_all_layers_have():
    every = {row.name: row for row in comparison_of_models().rows}
    chosen = rows_of(model(), changed(), layers=["attn.qkv:k", "experts*"])
    assert list(chosen) == ["attn.qkv:k", "experts:0", "experts:1", "experts:2"]
    for name, row in chosen.items():
        assert all(same(row.as_dict()[c], every[name].as_dict()[c]) for c in COLUMNS)


def test_a_chosen_gate_of_a_turned_layer_is_that_gate():
    before = {name: W for name, W in model().items() if name.startswith("lstm")}
    after = {name: np.ascontiguousarray(changed()[name].T) for name in before}
    (row,) = rows_of(before, after, layers="lstm.weight_ih_l0:g").values()
    expected = {row.name: row for row in comparison_of_models().rows}["lstm.weight_ih_l0:g"]
    assert row.relative_change == pytest.approx(expected.relative_change, rel=1e-12)


def same(a, b):
    return a == b or (a != a and b != b)


def test_progress_is_told_up_to_the_end():
    seen = []
    arrays = {"a.weight": gaussian(40, 30), "b.weight": gaussian(50, 20), "c.bias": gaussian(9)}
    compare(arrays, arrays, jobs=1, progress=lambda name, done, total: seen.append((name, done, total)))
    assert seen[-1][1] == pytest.approx(seen[-1][2])
    assert all(a[1] <= b[1] for a, b in pairwise(seen))


def strict(text):
    def refuse(constant):
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


def test_json_is_valid_and_tells_what_the_table_tells(tmp_path):
    broken = changed() | {"wide.weight": model()["wide.weight"] * np.nan}
    comparison = compare(model(), broken, jobs=1)
    found = strict(comparison.to_json(tmp_path / "c.json"))
    assert (tmp_path / "c.json").read_text() == comparison.to_json()
    assert found["schema_version"] == SCHEMA_VERSION == 1
    assert [tuple(row) for row in found["layers"]] == [COLUMNS] * len(comparison.rows)
    for row, written in zip(comparison.rows, found["layers"], strict=True):
        for column, value in row.as_dict().items():
            missing = isinstance(value, float) and not isfinite(value)
            assert written[column] == (None if missing else value)
    for name, directions in found["directions"].items():
        assert {one["k"] for one in directions} <= set(range(11))
        assert name in {row.name for row in comparison.rows}


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_tables_have_the_columns_in_their_order(tmp_path, format):
    comparison = comparison_of_models()
    path = tmp_path / f"c.{format}"
    if format == "csv":
        comparison.to_csv(path)
        table = pd.read_csv(path, keep_default_na=True)
    else:
        pytest.importorskip("pyarrow")
        comparison.to_parquet(path)
        table = pd.read_parquet(path)
    assert tuple(table.columns) == COLUMNS
    ok = table[table.status == "ok"]
    assert list(ok.name) == [row.name for row in comparison.rows if row.status == "ok"]
    expected = [row.relative_change for row in comparison.rows if row.status == "ok"]
    assert list(ok.relative_change) == pytest.approx(expected, rel=1e-15)


def test_every_column_is_defined_and_every_kind_is_explained():
    assert tuple(DEFINITIONS) == COLUMNS
    assert all(text.endswith(".") or text.endswith(")") or len(text) > 10 for text in DEFINITIONS.values())
    assert all(kind in DEFINITIONS["change"] for kind in KINDS_OF_CHANGE)
    assert len(COLUMNS) == len(set(COLUMNS))


def test_the_summary_counts_and_averages_the_rows():
    before, after = model(), changed()
    comparison = comparison_of_models()
    summary, ok = comparison.summary, [row for row in comparison.rows if row.status == "ok"]
    assert (summary["ok"], summary["unmatched"], summary["failed"]) == (18, 0, 0)
    assert sum(summary["changes"].values()) <= 18
    weights = [W.astype(float) for name, W in before.items() if matrices(name, W)]
    deltas = [after[n].astype(float) - W for n, W in before.items() if matrices(n, W)]
    squares = [sum((W**2).sum() for W in many) for many in (deltas, weights)]
    assert summary["parameters"] == sum(W.size for W in weights)
    assert summary["relative_change"] == pytest.approx((squares[0] / squares[1]) ** 0.5, rel=1e-9)
    for name in METRICS:
        changes = np.array([row.metrics[name].change for row in ok])
        changes = changes[np.isfinite(changes)]
        found = summary["metrics"][name]
        assert found["layers"] == changes.size
        assert found["change"] == pytest.approx(changes.mean(), rel=1e-9, abs=1e-15)
        assert found["error"] == pytest.approx(changes.std(ddof=1) / changes.size**0.5, rel=1e-9, abs=1e-15)


# Errors.

W = {"a.weight": np.eye(30, 20)}


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"conv": "fold"}, "conv is 'fold'; it can be slices, unfold"),
        ({"conv": "operator"}, "conv is 'operator'; it can be slices, unfold"),
        ({"bootstrap": -1}, "bootstrap is -1; it must be a whole number of at least 0"),
        ({"bootstrap": 38}, "bootstrap is 38; it must be 0, or at least 39 for a 95 % interval"),
        ({"bootstrap": 2.5}, "bootstrap is 2.5; it must be a whole number of at least 0"),
        ({"directions": 0}, "directions is 0; it must be a whole number of at least 1"),
        ({"directions": True}, "directions is True; it must be a whole number of at least 1"),
        ({"seed": -3}, "seed is -3; it must be a whole number of at least 0"),
        ({"seed": nan}, "seed is nan; it must be a whole number of at least 0"),
        ({"layers": "phase:random"}, "compare chooses layers by name; phases are two"),
    ],
)
def test_a_bad_argument_is_named_in_one_line(settings, text):
    with pytest.raises(RequestError) as error:
        compare(W, W, **settings)
    if "layers" not in settings:
        assert str(error.value) == text
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("settings", [{"jobs": 0}, {"memory_limit": "much"}, {"layers": "nothing*"}])
def test_a_bad_limit_is_an_error_of_one_line(settings):
    with pytest.raises(RequestError) as error:
        compare(W, W, **settings)
    assert "\n" not in str(error.value)


def test_a_chosen_layer_without_a_partner_has_its_row():
    before, after = W | {"b.x": np.eye(25, 20)}, W
    (row,) = compare(before, after, layers="b.x", jobs=1).rows
    assert (row.name, row.status, row.reason) == ("b.x", "unmatched", "is in the first model alone")


def test_models_that_have_nothing_in_common_are_refused():
    with pytest.raises(RequestError) as error:
        compare(W, {"b.kernel": np.eye(31, 20)}, jobs=1)
    assert str(error.value) == "mapping and mapping have no tensor in common: 'a.weight' against 'b.kernel'"


def test_a_model_that_is_not_there_is_named(tmp_path):
    for pair in ((tmp_path / "no.safetensors", W), (W, tmp_path / "no.safetensors")):
        with pytest.raises(SourceError, match=r"no\.safetensors.*no such file") as error:
            compare(*pair)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("shape", [(80, 80), (90, 60)])
def test_what_is_read_transposed_says_so_whatever_its_name(prefix, shape):
    W = student(*shape, seed=3)
    comparison = compare_models({"a.fc.weight": W}, {f"{prefix}a.fc.weight": W.T.copy()}, jobs=1)
    (row,) = comparison.rows
    assert (row.change, row.relative_change) == ("none", 0)
    assert "laid out as the transpose in the second model" in row.reason
    assert "1 matrix is laid out as the transpose in the second model" in comparison.notes


def test_reversed_shapes_of_unrelated_matrices_are_unmatched():
    comparison = compare_models(
        {"w": gaussian(90, 60), "v": gaussian(70, 50)}, {"w": gaussian(60, 90, seed=1), "v": gaussian(70, 50)}
    )
    row = comparison.rows[0]
    assert (row.status, row.reason) == ("unmatched", "90 x 60 in the first model, 60 x 90 in the second")
