"""HDF5 and the files of Keras in it, read without keras: numbers stay in the file until they are asked for."""

from __future__ import annotations

import json
from collections.abc import Iterable

from heavytail.weights.faults import quoted, reading
from heavytail.weights.formats.keras.arrays import Contents, read_contents
from heavytail.weights.formats.keras.layers import Layer, layers, place
from heavytail.weights.formats.keras.names import Variable, legacy, modern, needed, text, unique
from heavytail.weights.places.files import File
from heavytail.weights.tensor import Tensor

__all__ = ["read_hdf5", "read_weights"]

_OPTIMIZERS = ("optimizer/", "optimizer_weights/")


def read_hdf5(file: File) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    """Describe the arrays of an HDF5 file: a whole model or the weights of Keras 1 to 3, or any other arrays.

    Kernels are given in torch's order, (out, in, k...), with a `Hint` where their layer is known. Links to other
    files, and virtual and external datasets, are not followed.

    Raises:
        SourceError: the file is damaged, or h5py is not installed.
    """
    return read_weights(file, None)


def read_weights(file: File, config: object) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    """Describe the arrays of an HDF5 file, given the model's configuration as Keras writes it; None if there is none.

    Raises:
        SourceError: the file is damaged, or h5py is not installed.
    """
    contents = read_contents(file, needed)
    given = contents.attributes.get(("", "model_config"))
    if config is None and isinstance(given, str | bytes):
        with reading(file, "the model's configuration"):
            config = json.loads(text(given))
    with reading(file, "the model's configuration"):
        top = layers(config)
    state = [path for path in contents.datasets if path.startswith(_OPTIMIZERS)]
    paths = [path for path in contents.datasets if not path.startswith(_OPTIMIZERS)]
    variables = _variables(paths, contents, top)
    if variables is None:
        return tuple(data.tensor(file, path) for path, data in contents.datasets.items()), tuple(_notes(contents, 0))
    return tuple(_tensors(file, contents, variables)), tuple(_notes(contents, len(state)))


def _variables(paths: list[str], contents: Contents, top: Layer | None) -> list[Variable] | None:
    """Find whose the arrays are; None if Keras has not written the file."""
    listed = {path for path, name in contents.attributes if name.startswith("layer_names")}
    for base in ("model_weights", ""):
        if base in listed:
            return legacy(base, paths, contents.attributes, top)
    own = [path for path in paths if path.split("/")[-2:-1] == ["vars"]]
    others = [Variable(path, "", (), "", None, path) for path in paths if path.split("/")[-2:-1] != ["vars"]]
    return [*modern(own, contents.attributes, top), *others] if own else None


def _tensors(file: File, contents: Contents, variables: list[Variable]) -> Iterable[Tensor]:
    around: dict[str, dict[str, tuple[int, ...]]] = {}
    for variable in variables:
        around.setdefault(variable.owner, {})[variable.name or variable.leaf] = contents.datasets[variable.path].shape
    for name, variable in zip(unique(variables), variables, strict=True):
        data = contents.datasets[variable.path]
        shapes = {**around[variable.owner], variable.name: data.shape}
        seen, hint = place(variable.layer, variable.route, variable.name, shapes)
        yield data.tensor(file, name, seen, hint)


def _notes(contents: Contents, state: int) -> Iterable[str]:
    if state:
        yield f"left out: {state} tensors of the optimizer's state"
    found = {
        "links to other places, which are not followed": contents.links,
        "datasets without numbers": contents.others,
    }
    for what, paths in found.items():
        if paths:
            yield f"left out: {len(paths)} {what} ({quoted(paths[0])} the first)"
