"""Which files of a directory are taken, and what is said of files that are no models."""

import gzip
import json
import os
import sys
import tarfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from weights.cases import opened

from heavytail.errors import SourceError
from heavytail.weights.places.files import LocalFolder
from heavytail.weights.source import open_source


def tensors(*names, start=0):
    return {name: torch.full((2, 3), float(start + i)) for i, name in enumerate(names)}


def names(source):
    return [t.name for t in source.tensors]


def sharded(folder, parts, stem="model", save=save_file, ending="safetensors", index=True):
    weight_map = {}
    for i, part in enumerate(parts, 1):
        file = f"{stem}-{i:05}-of-{len(parts):05}.{ending}"
        save(tensors(*part, start=10 * i), folder / file)
        weight_map |= dict.fromkeys(part, file)
    if index:
        (folder / f"{stem}.{ending}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def test_a_single_file_may_be_given_as_text_or_path(tmp_path):
    save_file(tensors("a"), tmp_path / "m.safetensors")
    assert (
        names(open_source(str(tmp_path / "m.safetensors"))) == names(open_source(tmp_path / "m.safetensors")) == ["a"]
    )


@pytest.mark.parametrize(
    ("stem", "save", "ending"), [("model", save_file, "safetensors"), ("pytorch_model", torch.save, "bin")]
)
def test_a_sharded_set_is_read_through_its_index(stem, save, ending, tmp_path):
    sharded(tmp_path, [("a", "b"), ("c",)], stem, save, ending)
    for path in (tmp_path, tmp_path / f"{stem}.{ending}.index.json"):
        source = open_source(path)
        assert names(source) == ["a", "b", "c"]
        assert [t.read()[0, 0] for t in source.tensors] == [10, 11, 20]
        assert len(source.files) == 2
        assert source.notes == ()


def test_a_missing_shard_is_named(tmp_path):
    sharded(tmp_path, [("a",), ("b",)])
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    assert "names the shard 'model-00002-of-00002.safetensors', which is missing" in str(opened_below(tmp_path))


def opened_below(path):
    with pytest.raises(SourceError) as info:
        open_source(path)
    return info.value


def test_a_tensor_that_is_not_in_its_shard_is_named(tmp_path):
    sharded(tmp_path, [("a",), ("b",)])
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(index.read_text().replace('"b"', '"bb"'))
    assert "places tensor 'bb' in 'model-00002-of-00002.safetensors', which does not hold it" in str(
        opened_below(tmp_path)
    )


def test_stray_shards_and_tensors_are_left_out_and_said_so(tmp_path):
    sharded(tmp_path, [("a", "x"), ("b",)])
    save_file(tensors("z"), tmp_path / "old.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    value = json.loads(index.read_text())
    del value["weight_map"]["x"]
    index.write_text(json.dumps(value))
    source = open_source(tmp_path)
    assert names(source) == ["a", "b"]
    assert "left out: 1 tensors that the index does not name" in source.notes
    assert any("'old.safetensors'" in note for note in source.notes)


@pytest.mark.parametrize("file", ["../m.safetensors", "/etc/passwd", "a/b.safetensors", "", "..", 3])
def test_an_index_cannot_lead_out_of_its_directory(file, tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": file}}))
    assert isinstance(opened_below(tmp_path), SourceError)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"weight_map": {}}', '{"weight_map": []}', "[" * 100_000])
def test_a_damaged_index_is_one_line(text, tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text(text)
    assert isinstance(opened(tmp_path / "model.safetensors.index.json"), SourceError)


def test_shards_without_an_index_are_taken_in_natural_order(tmp_path):
    sharded(tmp_path, [(f"t{i}",) for i in range(12)], index=False)
    assert names(open_source(tmp_path)) == [f"t{i}" for i in range(12)]
    (tmp_path / "model-00010-of-00012.safetensors").unlink()
    assert "part 10 of 12 of 'model' is missing" in str(opened_below(tmp_path))


def test_a_name_in_two_files_is_ambiguous(tmp_path):
    save_file(tensors("a"), tmp_path / "one.safetensors")
    save_file(tensors("a"), tmp_path / "two.safetensors")
    assert "tensor 'a' stands in both 'one.safetensors' and 'two.safetensors'" in str(opened_below(tmp_path))


ORDER = (
    "model.safetensors",
    "consolidated.safetensors",
    "diffusion_pytorch_model.safetensors",
    "adapter_model.safetensors",
    "other.safetensors",
    "pytorch_model.bin",
    "adapter_model.bin",
    "model.pt",
)


@pytest.mark.parametrize("best", range(len(ORDER)))
def test_the_best_file_is_taken_and_the_others_are_named(best, tmp_path):
    for i, name in reversed(list(enumerate(ORDER[best:]))):
        save = save_file if name.endswith("safetensors") else torch.save
        save(tensors(f"t{i}"), tmp_path / name)
    source = open_source(tmp_path)
    assert source.files[0] == str(tmp_path / ORDER[best])
    if best < 6:
        assert "not read" in source.notes[0]
    (tmp_path / "training_args.bin").write_bytes(b"")


@pytest.mark.parametrize("name", ["m.pt", "m.pth", "m.bin", "m.ckpt"])
def test_a_lone_torch_file_is_taken_and_two_are_listed(name, tmp_path):
    torch.save(tensors("a"), tmp_path / name)
    assert names(open_source(tmp_path)) == ["a"]
    np.savez(tmp_path / "n.npz", a=np.zeros(2))
    assert f"holds 2 files that may be the model; name one: {name}, n.npz" in str(opened_below(tmp_path))


def test_what_a_trainer_writes_beside_a_model_is_not_the_model(tmp_path):
    for name in ("m.pt", "optimizer.pt", "scheduler.pt", "rng_state_0.pth", "training_args.bin"):
        torch.save(tensors(name.partition(".")[0]), tmp_path / name)
    assert names(open_source(tmp_path)) == ["m"]


def test_a_directory_without_weights_says_what_was_looked_for(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert "holds no weights; looked for safetensors, pytorch_model*.bin" in str(opened_below(tmp_path))


def test_a_directory_whose_folders_hold_weights_names_them(tmp_path):
    def adapter(name, file="adapter_model.safetensors"):
        (tmp_path / name).mkdir()
        save_file(tensors("a"), tmp_path / name / file)

    (tmp_path / "README.md").write_text("two adapters")
    (tmp_path / "empty").mkdir()
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    save_file(tensors("a"), tmp_path / "deep" / "deeper" / "model.safetensors")
    (tmp_path / "state").mkdir()
    torch.save({}, tmp_path / "state" / "optimizer.pt")
    assert "holds no weights; looked for" in str(opened_below(tmp_path))
    adapter("x")
    assert str(opened_below(tmp_path)) == f"{tmp_path}: holds no weights, but its folder 'x' does; name it"
    adapter("y", "pytorch_model-00001-of-00001.bin")
    assert str(opened_below(tmp_path)) == f"{tmp_path}: holds no weights, but its folders 'x' and 'y' do; name one"
    assert names(open_source(tmp_path / "x")) == ["a"]
    adapter("z10")
    assert "its folders 'x', 'y' and 'z10' do; name one" in str(opened_below(tmp_path))
    adapter("z9")
    assert "its folders 'x', 'y' and 2 more do; name one" in str(opened_below(tmp_path))
    assert "its folders 'x', 'y' and 2 more do; name one" in str(opened_below(tmp_path.as_uri()))


def test_a_folder_that_may_not_be_looked_into_is_passed_over(tmp_path, monkeypatch):
    for name in ("closed", "open"):
        (tmp_path / name).mkdir()
        save_file(tensors("a"), tmp_path / name / "model.safetensors")
    listed = LocalFolder.names

    def refused(folder):
        if folder.path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(LocalFolder, "names", refused)
    assert "but its folder 'open' does; name it" in str(opened_below(tmp_path))


FOREIGN = {
    "page.onnx": (b"\n<!DOCTYPE html>\n<html>", "looks like an HTML page, not a model"),
    "page.safetensors": (b"<html><body>404</body></html>", "looks like an HTML page, not a model"),
    "a.h5": (b"\x89HDF\r\n\x1a\n" + bytes(50), "a.h5: "),
    "a.gguf": (b"GGUF\3\0\0\0" + bytes(50), "a.gguf: "),
    "a.tflite": (b"\x1c\0\0\0TFL3" + bytes(50), "a.tflite: "),
    "a.bin": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "is a git-lfs pointer"),
    "empty.pt": (b"", "is empty"),
    "a.txt": (b"hello, \xc3\xa9tude\n", "looks like a text file, not a model"),
    "a.json": (b'{"a": 1}', "looks like a JSON file, not a model"),
    "a.gz": (gzip.compress(b"x"), "is a gzip archive, not a model; unpack it first"),
    "a.pt": (b"\xde\xad\xbe\xef" * 9, "is not a model file of a known kind (it begins with de ad be ef"),
    "zip.zip": (b"PK\5\6" + bytes(18), "is a zip archive, not a model"),
    "protocol0.pt": (b"cos\nsystem\n(S'touch canary'\ntR.", "is a bare Python pickle, which can run code"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_told_by_its_content(name, tmp_path):
    data, expected = FOREIGN[name]
    (tmp_path / name).write_bytes(data)
    error = opened(tmp_path / name)
    assert isinstance(error, SourceError)
    assert expected in str(error)


def test_a_tar_archive_and_a_torchscript_archive_without_a_module_are_told(tmp_path):
    (tmp_path / "x").write_bytes(b"x")
    with tarfile.open(tmp_path / "m.tar", "w") as archive:
        archive.add(tmp_path / "x", "x")
    assert "is a tar archive" in str(opened(tmp_path / "m.tar"))
    import zipfile

    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        for name in ("m/data.pkl", "m/constants.pkl", "m/code/__torch__.py"):
            archive.writestr(name, b"")
    assert "damaged, its pickle cannot be read" in str(opened(tmp_path / "m.pt"))


def test_what_is_not_there_is_told(tmp_path):
    assert str(opened(tmp_path / "no.pt")) == f"{tmp_path / 'no.pt'}: no such file or directory"
    os.mkfifo(tmp_path / "pipe")
    assert "is neither a file nor a directory" in str(opened(tmp_path / "pipe"))


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_told(tmp_path):
    save_file(tensors("a"), tmp_path / "m.safetensors")
    (tmp_path / "m.safetensors").chmod(0)
    assert str(opened(tmp_path / "m.safetensors")).endswith("permission denied")


@pytest.mark.parametrize("obj", [3, None, [np.zeros(2)], object()])
def test_what_is_no_model_is_told(obj):
    with pytest.raises(SourceError, match="is not a path, a mapping of arrays or a torch module"):
        open_source(obj)


def test_reading_a_file_imports_no_torch(tmp_path):
    import subprocess

    torch.save(tensors("a"), tmp_path / "m.pt")
    code = (
        "import sys; from heavytail.weights.source import open_source; import numpy as np\n"
        f"open_source({str(tmp_path / 'm.pt')!r}).tensors[0].read(); open_source({{'a': np.ones((2, 2))}})\n"
        "print('torch' in sys.modules, 'safetensors' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["False", "False"]
