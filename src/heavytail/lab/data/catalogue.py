"""The data by their names."""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from heavytail.errors import RequestError, SourceError
from heavytail.lab.data._draws import whole
from heavytail.lab.data.cifar import FOLDER, read_cifar10
from heavytail.lab.data.digits import read_digits
from heavytail.lab.data.examples import DataSet, Examples
from heavytail.lab.data.idx import read_idx_folder
from heavytail.lab.data.modular import modular_addition
from heavytail.lab.data.preprocessing import halve, standardise
from heavytail.lab.data.raw import Raw
from heavytail.lab.data.split import split

__all__ = ["FASHION_MNIST", "load_data"]

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts its files."""

_LARGEST = 1000  # modulus; a million sums

# Where torchvision's downloader puts its files, below the folder it was given.
_INNER = {"fashion-mnist": "FashionMNIST/raw", "mnist": "MNIST/raw", "cifar10": FOLDER}
_TORCHVISION = {"mnist": "MNIST", "cifar10": "CIFAR10"}


def load_data(
    name: str,
    folder: str | PathLike[str] | None = None,
    *,
    train: int | None = None,
    validation: int = 0,
    test: int | None = None,
    halved: bool = False,
    seed: int = 0,
) -> DataSet:
    """Read a data set and take examples from it at random.

    Images are divided by their largest value and standardised one by one, to mean 0 and variance 1 (Zhang et al. 2017);
    those of CIFAR-10 are cut to the 28 x 28 pixels of their centre first. Validation examples come from the training
    file. With one seed, more training examples are the fewer and some more, and the others stay the same.

    Args:
        name: "fashion-mnist", "mnist", "cifar10", "digits" (of scikit-learn), or "modular-addition-P", P from 2 to
            1000.
        folder: of the files, or the root that torchvision's downloader filled. None is right for the last two, and for
            Fashion-MNIST where Debian's package dataset-fashion-mnist is installed.
        train: number of training examples; None for all that are not for validation, of modular addition half of all.
        validation: number of validation examples.
        test: number of test examples; None for the whole test file, 597 of digits, all that are left of modular
            addition.
        halved: whether images are averaged over 2 x 2 pixels first, for quick runs.
        seed: of which examples are taken, and of their order.

    Raises:
        RequestError: the name is not known, the data need a folder, or there are not as many examples.
        SourceError: a file is missing or damaged.

    Example:
        >>> data = load_data("modular-addition-97", train=3000, validation=1000)
        >>> data.shape, len(data.train), len(data.validation), len(data.test)
        ((3,), 3000, 1000, 5409)
    """
    train, test = _count("train", train, 1), _count("test", test, 0)
    validation = whole("validation", validation, 0)
    raw = _read(name, folder)
    sets = split(name, raw, train, validation, test, seed)
    if raw.white is None:
        if halved:
            raise RequestError(f"halved is for images; {name} has none")
        return DataSet(name, raw.classes, *sets, checksum=raw.checksum)
    first, second, third = (Examples(_images(name, s.inputs, raw.white, halved), s.labels) for s in sets)
    return DataSet(name, raw.classes, first, second, third, raw.checksum)


def _read(name: str, folder: str | PathLike[str] | None) -> Raw:
    if name in _INNER:
        return _read_files(name, folder)
    modulus = re.fullmatch("modular-addition-([1-9][0-9]{0,3})", name)
    if name != "digits" and (modulus is None or not 2 <= int(modulus[1]) <= _LARGEST):
        known = ", ".join([*_INNER, "digits"])
        raise RequestError(f"data {name!r} are not known; there are {known} and modular-addition-P, P from 2 to 1000")
    if folder is not None:
        raise RequestError(f"folder is {str(folder)!r}; the data {name!r} are in no folder")
    return read_digits() if modulus is None else modular_addition(int(modulus[1]))


def _read_files(name: str, folder: str | PathLike[str] | None) -> Raw:
    if folder is None:
        if name != "fashion-mnist":
            raise RequestError(
                f"data {name!r} need a folder: the root that torchvision.datasets.{_TORCHVISION[name]}(root, "
                "download=True) fills, or the folder of the files in it"
            )
        if not FASHION_MNIST.is_dir():
            raise SourceError(FASHION_MNIST, "is not there; apt install dataset-fashion-mnist, or give an IDX folder")
    place = FASHION_MNIST if folder is None else Path(folder)
    if not place.is_dir():
        raise SourceError(place, f"is no folder; that of the files of {name} is expected")
    inner = place / _INNER[name]
    read = read_cifar10 if name == "cifar10" else read_idx_folder
    return read(inner if inner.is_dir() else place)


def _count(name: str, value: int | None, least: int) -> int | None:
    return None if value is None else whole(name, value, least)


def _images(name: str, images: NDArray[np.uint8], white: int, halved: bool) -> NDArray[np.float32]:
    if not halved:
        return standardise(images, white)
    if images.shape[2] % 2 or images.shape[3] % 2:
        raise RequestError(f"halved needs images of even sides; {name} has {images.shape[2]} x {images.shape[3]}")
    return standardise(halve(images), 4 * white)
