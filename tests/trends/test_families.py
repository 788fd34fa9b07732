from itertools import combinations

import numpy as np
import pytest
from models import lite0, minilm, model, shared
from trends.model_rows import network, report, row

import heavytail
from heavytail.trends.families import least_alike, patterns, same_family, similarity


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


@pytest.mark.slow
def test_published_families_are_told_apart():
    resnets = [shared(f"resnet_cifar10/{name}.th") for name in ("resnet20-12fca82f", "resnet56-4bfd9763")]
    versions = ("0.2.0/chgnet_0.2.0_e30f77s348m32.pth.tar", "0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar")
    chgnets = [model("chgnet", f"chgnet/pretrained/{version}") for version in versions]
    others = [[lite0()], [minilm()], [shared("musicnn/MTT_musicnn.h5")], [shared("musicnn/MTT_vgg.h5")]]
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
