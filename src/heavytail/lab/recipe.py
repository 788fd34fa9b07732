"""A recipe: all that decides one training, and nothing else."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from math import inf, nan
from typing import Any

from heavytail.errors import RequestError

__all__ = ["NETWORKS", "OPTIMISERS", "Recipe"]

NETWORKS = ("mlp3", "minialexnet", "lenet5", "resnet", "transformer", "mlp-tokens")
OPTIMISERS = ("sgd", "adam", "adamw", "adadelta")
_CHOICES = {
    "network": NETWORKS,
    "optimiser": OPTIMISERS,
    "loss": ("mse", "cross-entropy"),
    "pixels": ("true", "shuffled", "random", "gaussian"),
}
_WHOLE = {"batch": 1, "epochs": 0, "looks": 2, "seed": 0, "train": 1, "validation": 0, "test": 1, "draw": 0}
_RANGES = {
    "rate": (0.0, inf),
    "momentum": (0.0, 1.0),
    "decay": (0.0, 1.0),
    "weight_decay": (0.0, inf),
    "dropout": (0.0, 1.0),
    "randomised": (0.0, 1.0),
    "target": (0.0, 1.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One training. The same recipe gives the same weights on the same machine, wherever it was interrupted.

    Attributes:
        network: one of `NETWORKS`.
        data: name of the data (see `lab.load_data`).
        batch: examples in a step, >= 1; the last step of an epoch takes what is left.
        rate: learning rate of the first epoch, >= 0.
        epochs: how often each example is seen, >= 0.
        momentum: of SGD, in [0, 1].
        decay: factor of the learning rate after each epoch, in [0, 1].
        loss: "mse" of the probabilities, or "cross-entropy".
        optimiser: one of `OPTIMISERS`.
        weight_decay: strength w of the penalty w |W|^2 / 2 on weight matrices, >= 0; decoupled in "adamw". A Keras
            penalty l2(w) is w |W|^2: twice as strong.
        dropout: probability that a unit behind a hidden matrix is left out, in [0, 1].
        randomised: fraction of the training labels that are drawn anew at random, in [0, 1].
        pixels: "true", or what the images are replaced with (see `lab.randomise_pixels`).
        train: number of training examples.
        validation: number of examples kept aside to choose when to stop.
        test: number of test examples.
        halved: whether images are averaged over 2 x 2 pixels first.
        draw: seed of which examples are taken and which labels are randomised.
        seed: of the initial weights, the order of examples and dropout.
        looks: at how many epochs the network is looked at, from the first to the last, evenly in the log of time;
            the first epochs come one by one.
        target: test error at which the training stops, measured ten times an epoch; NaN for none.
        layers: globs of the matrices whose spectra are followed, separated by blanks.
        probes: what else is measured of the trained network, separated by blanks (see `lab.probes`).
    """

    network: str
    data: str
    batch: int = 16
    rate: float = 0.01
    epochs: int = 20
    momentum: float = 0.9
    decay: float = 1.0
    loss: str = "mse"
    optimiser: str = "sgd"
    weight_decay: float = 0.0
    dropout: float = 0.0
    randomised: float = 0.0
    pixels: str = "true"
    train: int = 10_000
    validation: int = 0
    test: int = 5_000
    halved: bool = False
    draw: int = 0
    seed: int = 0
    looks: int = 12
    target: float = nan
    layers: str = "fc*"
    probes: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained.

        Raises:
            RequestError: if a value is out of its range.
        """
        for name, known in _CHOICES.items():
            if (value := getattr(self, name)) not in known:
                raise RequestError(f"{name} is {value!r}; it can be {', '.join(known)}")
        for name, least in _WHOLE.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise RequestError(f"{name} is {value!r}; it must be a whole number of at least {least}")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not (low <= value <= high or (name == "target" and value != value)):
                raise RequestError(f"{name} is {value!r}; it must lie in [{low:g}, {high:g}]")

    def as_dict(self) -> dict[str, Any]:
        """Give the recipe as plain data, with None for a missing target.

        Example:
            >>> recipe = Recipe(network="mlp3", data="digits", train=1000, test=500)
            >>> Recipe.from_dict(recipe.as_dict()).as_dict() == recipe.as_dict()
            True
        """
        return {name: None if value != value else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """Make the recipe that `as_dict` gave.

        Raises:
            RequestError: if a name is no field of a recipe, or one without a default is missing.
        """
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown or not {"network", "data"} <= set(values):
            raise RequestError(f"a recipe has {', '.join(f.name for f in fields(cls))}; got {', '.join(values)}")
        return cls(**(values | {"target": nan if values.get("target") is None else values["target"]}))
