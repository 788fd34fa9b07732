"""PyTorch files since 1.6: a zip archive of one pickle and one member a storage."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from heavytail.errors import SourceError
from heavytail.weights.faults import quoted, reading
from heavytail.weights.formats.archive import content
from heavytail.weights.formats.torch.described import describe
from heavytail.weights.formats.torch.objects import Forbidden, find_global, storage_of
from heavytail.weights.formats.torch.pickles import load_pickle
from heavytail.weights.formats.torch.refs import StorageRef, itemsize
from heavytail.weights.places.files import File
from heavytail.weights.ranges import Plain, Region, swapped
from heavytail.weights.tensor import Tensor

__all__ = ["Archive", "open_archive", "read_torch_zip"]

_MOST_PICKLE = 1 << 20
_MOST_RATIO = 16


@dataclass(frozen=True, slots=True)
class Archive:
    """What torch wrote as a zip archive.

    Attributes:
        file: the file.
        regions: its members, by their names under the archive's own folder.
        swap: whether the bytes of the numbers must be swapped on this machine.
    """

    file: File
    regions: Mapping[str, Region]
    swap: bool

    def unpickle(
        self, name: str, find: Callable[[str], object], persistent: Callable[[object], object] = storage_of
    ) -> object:
        """Read a member that is a pickle.

        Args:
            name: the member.
            find: gives what stands for a dotted name, or raises `Forbidden`.
            persistent: gives what stands for a persistent id.

        Raises:
            SourceError: it is damaged, or asks for what is not on the list.
        """
        try:
            with reading(self.file, "its pickle"):
                # A pickle that unpacks to many times its file is a bomb: tensors stand beside it.
                most = _MOST_PICKLE + _MOST_RATIO * self.file.size
                stream = io.BytesIO(content(self.file, self.regions, name, most))
                return load_pickle(stream, find, persistent)
        except Forbidden as refusal:
            raise SourceError(self.file, str(refusal)) from None

    def storage(self, run: StorageRef, folder: str = "data/") -> Region | None:
        """Give the bytes of a storage, None if there are none.

        Raises:
            SourceError: they are fewer than the pickle states.
        """
        region = self.regions.get(folder + run.key)
        needed = run.numel * itemsize(run.dtype)
        if region is not None and region.size < needed:
            raise SourceError(self.file, f"the storage {quoted(run.key)} has {region.size} bytes; {needed} are stated")
        return region


def open_archive(file: File, regions: Mapping[str, Region]) -> Archive:
    """Find the folder of an archive that torch wrote, and the order of its bytes.

    A checksum of 0 is none: torch.serialization.set_crc32_options(False) and skip_data() write it.

    Raises:
        SourceError: there is no such folder, or more than one; the order of the bytes is not stated clearly.
    """
    pickles = [name for name in regions if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise SourceError(file, f"a PyTorch archive has one data.pkl; this one has {len(pickles)}")
    prefix = pickles[0].removesuffix("data.pkl")
    inside = {
        name.removeprefix(prefix): replace(part, crc=None) if isinstance(part, Plain) and part.crc == 0 else part
        for name, part in regions.items()
        if name.startswith(prefix)
    }
    order = "little"
    if "byteorder" in inside:
        order = content(file, inside, "byteorder", 16).decode("ascii", "replace").strip()
        if order not in ("little", "big"):
            raise SourceError(file, "its byteorder is neither little nor big")
    return Archive(file, inside, swapped(order))


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
    archive = open_archive(file, regions)
    return describe(file, archive.unpickle("data.pkl", find_global), archive.storage, archive.swap)
