from itertools import combinations

import numpy as np
import pytest
from models import lite0, minilm, model
from models import shared as shared_file
from trends.model_rows import network, report, row

import heavytail
from heavytail.trends.families import least_alike, patterns, same_family, shared, similarity


def test_depth_and_numbers_make_no_difference_and_other_names_do():
    shallow, deep, other = network("a", 3, depth=2), network("b", 3, depth=12), network("c", 3, prefix="stage")
    assert similarity(shallow, deep) == 1
    assert similarity(shallow, other) == 0
    assert same_family([shallow, deep])
    assert not same_family([shallow, deep, other])
    assert same_family([shallow])


def test_similarity_is_that_of_jaccard():
    a = report("a", row("x.1"), row("x.2"), row("y"), row("z", kind="conv2d"))
    b = report("b", row("x.7"), row("z"), row("w"))
    # x.# is in both; y, z as a convolution, z as a linear layer and w in one of them only
    assert similarity(a, b) == similarity(b, a) == 1 / 5
    assert similarity(report("c"), report("d")) == 0


def test_parts_of_a_fused_tensor_count_once_and_biases_never():
    skipped = heavytail.diagnosis.row.Row(name="b.bias", kind="", dtype="float32", status="skipped")
    assert patterns([row("att.0.qkv:q", kind="qkv"), row("att.0.qkv:k", kind="qkv"), skipped]) == {("att.#.qkv", "qkv")}


def test_the_two_least_alike_are_found():
    models = [network("a", 3), report("b", row("blocks.1.fc"), row("head")), network("c", 3, prefix="stage")]
    assert least_alike(models) == (0, 2, 0.0)


LAYOUTS = {
    "stack": ["blocks.0.fc", "blocks.1.fc"],
    "sequential": ["0", "2", "4.conv"],
    "encoder": ["encoder.layer.0.q", "encoder.layer.1.q", "encoder.embed"],
    "mixed": ["conv1", "layer1.0.conv1", "layer2.0.conv1", "fc"],
}


def named(names, before=""):
    return report("net", *(row(before + name) for name in names))


@pytest.mark.parametrize("names", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("before", ["model.", "module.", "module.model.", "0.auto_model."])
def test_what_a_wrapper_puts_before_all_names_makes_no_difference(names, before):
    plain, wrapped = named(names), named(names, before)
    assert similarity(plain, wrapped) == similarity(wrapped, plain) == 1
    assert least_alike([plain, wrapped, plain])[2] == 1
    assert shared(plain, wrapped) == (len(patterns(plain.rows)),) * 2


@pytest.mark.parametrize("names", [LAYOUTS["stack"], LAYOUTS["encoder"], LAYOUTS["mixed"]])
def test_two_wrappers_are_one(names):
    assert similarity(named(names, "model."), named(names, "net.module.")) == 1


def test_a_head_outside_the_part_that_is_shared_hides_nothing():
    kinds = [f"encoder.{letter}.fc" for letter in "abcdefghi"]
    base, headed = named(kinds), named([*kinds, "head"])
    assert similarity(base, headed) == similarity(named(kinds, "model."), headed) == 9 / 10
    assert similarity(base, named([*kinds, "head"], "model.")) == 9 / 10


def test_the_name_of_a_list_of_layers_is_no_wrapper():
    assert similarity(named(["blocks.0.fc", "blocks.1.fc"]), named(["stage.0.fc", "stage.1.fc"])) == 0
    assert similarity(named(["blocks.0.fc"], "model."), named(["stage.0.fc"], "module.")) == 0
    assert similarity(named(["blocks.0.fc"]), named(["stage.0.fc"], "module.")) == 0


def test_a_model_of_one_layer_keeps_its_name():
    assert similarity(named(["fc"]), named(["conv"])) == 0
    assert similarity(named(["layer.0.fc"]), named(["layer.0.fc", "layer.1.fc"])) == 1
    assert shared(report("none"), named(["fc"])) == (0, 1)


@pytest.mark.slow
def test_published_families_are_told_apart():
    resnets = [shared_file(f"resnet_cifar10/{name}.th") for name in ("resnet20-12fca82f", "resnet56-4bfd9763")]
    versions = ("0.2.0/chgnet_0.2.0_e30f77s348m32.pth.tar", "0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar")
    chgnets = [model("chgnet", f"chgnet/pretrained/{version}") for version in versions]
    others = [[lite0()], [minilm()], [shared_file("musicnn/MTT_musicnn.h5")], [shared_file("musicnn/MTT_vgg.h5")]]
    families = [[heavytail.analyze(path, jobs=1) for path in paths] for paths in (resnets, chgnets, *others)]
    for family in families:
        assert same_family(family)
    for a, b in combinations(families, 2):
        assert similarity(a[0], b[0]) < 0.3


@pytest.mark.parametrize("count", [4, 5])
def test_one_part_in_five_may_differ(count):
    rng = np.random.default_rng(0)
    weights = {f"part{letter}.weight": rng.standard_normal((12, 10)) for letter in "abcde"[:count]}
    less = dict(list(weights.items())[1:])
    assert same_family([heavytail.analyze(weights), heavytail.analyze(less)]) == (count == 5)
