"""One training from its recipe, which can be interrupted at any epoch and goes on where it was."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn, optim

from heavytail.errors import RequestError
from heavytail.lab.data import DataSet, Examples, load_data, randomise_labels, randomise_pixels
from heavytail.lab.looking import Tensors, look_epochs, look_errors, look_network, look_spectra
from heavytail.lab.losses import loss_of
from heavytail.lab.networks import build
from heavytail.lab.recipe import Recipe

__all__ = ["Advance", "examples_of", "parts_of", "train"]

Advance = Callable[[int, int], None]
Row = dict[str, Any]

_SAVE_EVERY = 20.0  # seconds: what an interruption can cost, where epochs are shorter
_CHECKS = 10  # of the test error in an epoch, where a target is set


def examples_of(recipe: Recipe, folder: str | os.PathLike[str] | None = None) -> DataSet:
    """Give the examples of a recipe, with the labels and pixels randomised that it says.

    Args:
        recipe: the recipe.
        folder: where the data are; None for where the system has them.

    Raises:
        SourceError: if the data are missing or damaged.
    """
    data = load_data(
        recipe.data,
        folder,
        train=recipe.train,
        validation=recipe.validation,
        test=recipe.test,
        halved=recipe.halved,
        seed=recipe.draw,
    )
    train = randomise_labels(data.train, recipe.randomised, data.classes, recipe.draw)
    parts = (train, data.validation, data.test)
    if recipe.pixels != "true":
        parts = tuple(randomise_pixels(part, recipe.pixels, recipe.draw) for part in parts)  # type: ignore[assignment]
    return DataSet(data.name, data.classes, *parts, data.checksum)


def parts_of(data: DataSet) -> dict[str, Tensors]:
    """Give the parts of the data as tensors, by name."""
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    return {name: _tensors(part) for name, part in parts.items()}


def _tensors(examples: Examples) -> Tensors:
    return torch.from_numpy(examples.inputs), torch.from_numpy(examples.labels)


def train(recipe: Recipe, data: DataSet, state: Path | None = None, advance: Advance | None = None) -> Any:
    """Train a network by its recipe.

    The order of the examples and the units left out depend on the seed and the number of the epoch alone, so that an
    interrupted training gives the weights of one that was not.

    Args:
        recipe: the recipe.
        data: its examples (`examples_of`).
        state: file that keeps where the training is, at the end of an epoch; if it exists the training goes on from
            there. None keeps nothing.
        advance: called as advance(epoch, epochs) after each epoch.

    Returns:
        The trained network, and the rows of the table: for each look one of the network and one for each layer. A
        training ends early at its target, or when the loss is no longer a number.

    Raises:
        RequestError: if the state is of another recipe.
    """
    with torch.random.fork_rng(devices=[]):
        return _Training(recipe, data).run(state, advance)


class _Training:
    """Where a training is: network, optimiser, step, and the rows of the table so far."""

    def __init__(self, recipe: Recipe, data: DataSet) -> None:
        self.recipe = recipe
        self.parts = parts_of(data)
        self.inputs, self.labels = self.parts["train"]
        self.loss = loss_of(recipe.loss)
        network = build(recipe.network, data.shape, data.classes, dropout=recipe.dropout, seed=recipe.seed)
        self.network = network.to(memory_format=torch.channels_last) if self.inputs.ndim == 4 else network  # type: ignore[call-overload]
        self.optimiser = _optimiser(recipe, self.network)
        self.looks = set(look_epochs(recipe.epochs, recipe.looks))
        self.epoch = self.step = 0
        self.rows: list[Row] = []
        self.reached, self.loss_seen = math.nan, 0.0
        self.began = time.monotonic()

    def run(self, state: Path | None, advance: Advance | None) -> tuple[nn.Module, list[Row]]:
        """Go on to the last epoch."""
        if state is not None and state.exists():
            self.load(state)
        else:
            self.look()
        saved = time.monotonic()
        while self.epoch < self.recipe.epochs and not self.over:
            self.one_epoch()
            if self.epoch in self.looks or self.over:
                self.look()
            if state is not None and not self.over and time.monotonic() - saved > _SAVE_EVERY:
                self.save(state)
                saved = time.monotonic()
            if advance:
                advance(self.epoch, self.recipe.epochs)
        return self.network, self.rows

    @property
    def over(self) -> bool:
        """Whether the target is reached, or the loss no longer a number."""
        return not math.isnan(self.reached) or not math.isfinite(self.loss_seen)

    def one_epoch(self) -> None:
        """Take one step for each batch."""
        recipe = self.recipe
        generator = torch.Generator().manual_seed(_seed_of(recipe.seed, self.epoch))
        torch.manual_seed(_seed_of(recipe.seed, self.epoch) + 1)  # of dropout
        for group in self.optimiser.param_groups:
            group["lr"] = recipe.rate * recipe.decay**self.epoch
        for part in self.network.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d) and part.momentum is None:
                part.reset_running_stats()
        self.network.train()
        batches = torch.split(torch.randperm(len(self.labels), generator=generator), recipe.batch)
        check = max(1, len(batches) // _CHECKS)
        for k, chosen in enumerate(batches, 1):
            if len(chosen) > 1 or recipe.batch == 1:  # a lonely last example has no batch to be normalised by
                self.one_step(self.inputs[chosen], self.labels[chosen])
            if not math.isnan(recipe.target) and k % check == 0 and self.hit():
                break
        self.epoch += 1

    def one_step(self, inputs: Tensor, labels: Tensor) -> None:
        """Take one step."""
        self.optimiser.zero_grad()
        loss = self.loss(self.network(inputs), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.loss_seen = float(loss.detach())
        self.step += 1

    def hit(self) -> bool:
        """Tell whether the test error is at the target, and note the step."""
        _, accuracy = look_errors(self.network, self.parts["test"], self.loss)
        if 1 - accuracy <= self.recipe.target:
            self.reached = float(self.step)
            return True
        return False

    def look(self) -> None:
        """Add the rows of this epoch."""
        when = {"epoch": self.epoch, "step": self.step}
        of_all = look_network(self.network, self.parts, self.loss)
        of_all |= {"seconds": time.monotonic() - self.began, "steps_to_target": self.reached}
        self.rows.append({**when, "layer": "", **of_all})
        self.rows += [{**when, **row} for row in look_spectra(self.network, self.recipe.layers)]

    def save(self, path: Path) -> None:
        """Write the state, so that a file is either the old one or the new one."""
        kept = {
            "recipe": self.recipe.as_dict(),
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "rows": self.rows,
            "seconds": time.monotonic() - self.began,
        }
        part = path.with_suffix(".part")
        torch.save(kept, part)
        part.replace(path)

    def load(self, path: Path) -> None:
        """Go back to where a file says."""
        kept: Mapping[str, Any] = torch.load(path, weights_only=True)
        if kept["recipe"] != self.recipe.as_dict():
            other = {k: v for k, v in kept["recipe"].items() if self.recipe.as_dict().get(k) != v}
            raise RequestError(f"{path}: is of another training, with {other}; use another folder")
        self.network.load_state_dict(kept["network"])
        self.optimiser.load_state_dict(kept["optimiser"])
        self.epoch, self.step, self.rows = kept["epoch"], kept["step"], list(kept["rows"])
        self.began = time.monotonic() - kept["seconds"]


def _seed_of(seed: int, epoch: int) -> int:
    """Give an epoch's own seed: two epochs or trainings share none."""
    return (seed * 1_000_003 + epoch + 1) * 2


def _optimiser(recipe: Recipe, network: nn.Module) -> optim.Optimizer:
    matrices = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if recipe.optimiser == "sgd":
        return optim.SGD(groups, recipe.rate, recipe.momentum)
    if recipe.optimiser == "adadelta":
        return optim.Adadelta(groups, recipe.rate, rho=0.95, eps=1e-7)  # as in Keras
    return optim.Adam(groups, recipe.rate) if recipe.optimiser == "adam" else optim.AdamW(groups, recipe.rate)
