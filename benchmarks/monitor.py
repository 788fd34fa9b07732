"""What a monitor costs a training: the share stated, the share it measured, and the share that pairs of steps show.

    python benchmarks/monitor.py                the table; about an hour
    python benchmarks/monitor.py --steps 200    the same, short

Two language models on synthetic tokens (a torch TransformerEncoder, one thread) are trained by turns, step by step, one
of them with a monitor; who comes first changes. The share of the pairs is 1 - (seconds without) / (seconds with), all
steps taken together, in time of the wall and of the processor. Behind it stands the standard error from the scatter of
the pairs in which there was no look. The clock of the monitor stands still while the other model is trained. There is
no look before training, so that all shares are of the steps.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import sqrt
from unittest.mock import patch

import numpy as np
import torch
from common import markdown
from torch import nn

from heavytail.lab import _meter
from heavytail.lab.monitor import Monitor

TOKENS, LENGTH, BATCH = 512, 64, 4
EVERY = (10, 50, 200)
BUDGETS = (0.01, 0.05, 1.0)


class LanguageModel(nn.Module):
    """A causal transformer of six layers and width 256."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, 256)
        layer = nn.TransformerEncoderLayer(256, 4, 1024, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
        self.head = nn.Linear(256, TOKENS, bias=False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(LENGTH), persistent=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(self.embedding(tokens), mask=self.mask, is_causal=True))


class Training:
    """A model in training; each token is a noisy function of the one before it."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = LanguageModel()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-4)
        self.generator = torch.Generator().manual_seed(0)

    def batch(self) -> torch.Tensor:
        tokens = torch.randint(TOKENS, (BATCH, LENGTH + 1), generator=self.generator)
        kept = torch.rand(BATCH, LENGTH, generator=self.generator) < 0.7
        for i in range(LENGTH):
            tokens[:, i + 1] = torch.where(kept[:, i], (3 * tokens[:, i] + 7) % TOKENS, tokens[:, i + 1])
        return tokens

    def step(self) -> torch.Tensor:
        tokens = self.batch()
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        self.optimizer.step()
        return loss


class Stopwatch:
    """Seconds of what is done within `running` alone, each time apart, by the wall and by the processor."""

    def __init__(self) -> None:
        self.laps: list[tuple[float, float]] = []
        self.total, self.start = 0.0, None

    @contextmanager
    def running(self) -> Iterator[None]:
        self.start, processor = time.perf_counter(), time.process_time()
        yield
        wall = time.perf_counter() - self.start
        self.laps.append((wall, time.process_time() - processor))
        self.total, self.start = self.total + wall, None

    def now(self) -> float:
        return self.total + (0.0 if self.start is None else time.perf_counter() - self.start)


def percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def row(every: int, budget: float, steps: int) -> list[str]:
    plain, watched = Training(), Training()
    plain.step(), watched.step()
    apart, clock, looks = Stopwatch(), Stopwatch(), []
    with patch.object(_meter, "perf_counter", clock.now):
        with clock.running():
            monitor = Monitor(watched.model, every, budget=budget, initial=False)
        clock.laps.clear()
        for step in range(steps):
            for turn in ("plain", "watched") if step % 2 else ("watched", "plain"):
                if turn == "plain":
                    with apart.running():
                        plain.step()
                else:
                    with clock.running():
                        looks.append(monitor.step(loss=watched.step()) is not None)
        cost = monitor.cost
    without, seen, quiet = np.array(apart.laps), np.array(clock.laps), ~np.array(looks)
    shares = 1 - without.sum(axis=0) / seen.sum(axis=0)
    errors = (seen - without)[quiet].std(axis=0) * sqrt(steps) / seen.sum(axis=0)
    return [
        str(every),
        "none" if budget == 1 else percent(budget),
        percent(cost),
        *(f"{percent(share)} ± {percent(error)}" for share, error in zip(shares, errors, strict=True)),
        f"{1e3 * np.median(without[:, 0]):.0f} ms",
        f"{sum(looks)} of {steps // every}",
        str(len(monitor.table)),
        str(len(monitor.skipped)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000, help="of each training")
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = Training().model
    Monitor(model)  # what is imported and loaded once
    start = time.perf_counter()
    rows = len(Monitor(model).table)
    took = time.perf_counter() - start
    print(f"{given.steps} steps a training; a look at all {rows} matrices: {took:.2f} s\n", flush=True)
    head = ("every", "budget", "monitor's own", "pairs, wall", "pairs, processor", "a step", "steps seen", "rows")
    for every in EVERY:
        lines = [row(every, budget, given.steps) for budget in BUDGETS]
        print(markdown((*head, "left out"), lines), flush=True)


if __name__ == "__main__":
    main()
