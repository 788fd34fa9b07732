"""PyTorch files since 1.6: a zip archive of one pickle and one member a storage."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from heavytail.errors import SourceError
from heavytail.weights.formats.archive import content
from heavytail.weights.formats.described import describe
from heavytail.weights.formats.faults import reading
from heavytail.weights.formats.files import File
from heavytail.weights.formats.objects import Forbidden, find_global, storage_of
from heavytail.weights.formats.pickles import load_pickle
from heavytail.weights.formats.ranges import Plain, Region, swapped
from heavytail.weights.formats.refs import StorageRef, itemsize
from heavytail.weights.tensor import Tensor

__all__ = ["read_torch_zip"]

_MOST_PICKLE = 1 << 20
_MOST_RATIO = 16


def read_torch_zip(file: File, regions: Mapping[str, Region]) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    """Read the pickle of a PyTorch archive; the storages stay where they are.

    Args:
        file: the file.
        regions: its members.

    Returns:
        The tensors, and notes on what was left out.

    Raises:
        SourceError: the archive is damaged, or its pickle asks for what is not on the list.
    """
    # torch can be told to write no checksums (torch.serialization.set_crc32_options), and reads such files.
    regions = {name: replace(part, crc=None) if isinstance(part, Plain) else part for name, part in regions.items()}
    pickles = [name for name in regions if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise SourceError(file, f"a PyTorch archive has one data.pkl; this one has {len(pickles)}")
    prefix = pickles[0].removesuffix("data.pkl")
    order = "little"
    if f"{prefix}byteorder" in regions:
        order = content(file, regions, f"{prefix}byteorder", 16).decode("ascii", "replace").strip()
        if order not in ("little", "big"):
            raise SourceError(file, "its byteorder is neither little nor big")
    try:
        with reading(file, "its pickle"):
            # A pickle that unpacks to many times its file is a bomb: tensors stand beside it.
            most = _MOST_PICKLE + _MOST_RATIO * file.size
            stream = io.BytesIO(content(file, regions, pickles[0], most))
            root = load_pickle(stream, find_global, storage_of)
    except Forbidden as refusal:
        raise SourceError(file, str(refusal)) from None
    return describe(file, root, partial(_region, file, regions, prefix), swapped(order))


def _region(file: File, regions: Mapping[str, Region], prefix: str, run: StorageRef) -> Region | None:
    region = regions.get(f"{prefix}data/{run.key}")
    needed = run.numel * itemsize(run.dtype)
    if region is not None and region.size < needed:
        raise SourceError(file, f"the storage '{run.key}' has {region.size} bytes; {needed} are stated")
    return region
