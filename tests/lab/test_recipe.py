import json
from dataclasses import fields, replace
from math import nan

import pytest

from heavytail.errors import RequestError
from heavytail.lab import Recipe

RECIPE = Recipe(network="mlp3", data="digits", train=100, test=50)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network", "vgg"),
        ("optimiser", "lion"),
        ("loss", "hinge"),
        ("pixels", "blue"),
        ("batch", 0),
        ("batch", 2.0),
        ("batch", True),
        ("epochs", -1),
        ("seed", -1),
        ("train", 0),
        ("rate", -0.1),
        ("rate", nan),
        ("randomised", 1.5),
        ("dropout", -0.1),
        ("target", 2.0),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line_that_names_it(name, value):
    with pytest.raises(RequestError, match=f"^{name} is ") as refused:
        replace(RECIPE, **{name: value})
    assert "\n" not in str(refused.value)


def test_a_recipe_survives_json():
    recipe = replace(RECIPE, target=0.1, layers="fc1 out", randomised=0.2)
    for one in (RECIPE, recipe):
        again = Recipe.from_dict(json.loads(json.dumps(one.as_dict(), allow_nan=False)))
        assert repr(again) == repr(one)


def test_an_unknown_or_missing_name_is_refused():
    with pytest.raises(RequestError, match="colour"):
        Recipe.from_dict(RECIPE.as_dict() | {"colour": "blue"})
    with pytest.raises(RequestError, match="network"):
        Recipe.from_dict({"data": "digits"})


def test_every_field_is_explained():
    assert all(f"        {field.name}: " in Recipe.__doc__ for field in fields(Recipe))
