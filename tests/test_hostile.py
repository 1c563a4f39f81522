"""Files that are damaged, foreign or made to harm: each is refused by a ValueError of one line that names it."""

import gzip
import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lavae_rl.data.digits import load_mnist_idx
from lavae_rl.data.files import load_npz
from lavae_rl.data.manifest import read_manifest
from lavae_rl.data.recordings import open_recording
from lavae_rl.model.checkpoint import bundled_names, find
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.lavae import LAVAE
from lavae_rl.pretrain import evaluate_lavae
from lavae_rl.pretraining.state import Progress
from lavae_rl.rl.presets import Preset
from lavae_rl.runs.config import read_json
from lavae_rl.runs.exits import clean_exit
from lavae_rl.runs.folder import RunFolder
from lavae_rl.runs.tables import read_rows

ROOT = Path(__file__).parents[1]
IMAGES = np.zeros((2, 8, 8, 3), np.uint8)


def _refused(load, path, message):
    with pytest.raises(ValueError, match=message) as refused:
        load(path)
    assert path.name in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe{}", b"{", b"", b"3"], ids=lambda text: str(text[:5])
)
def test_json_that_is_damaged_is_refused(content, tmp_path):
    for name, read in (("config.json", read_json), ("manifest.json", read_manifest)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name} is damaged"):
            read(tmp_path)


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path, untrained):
    for name in ("config.json", "model.safetensors", "checkpoint.pt", "metrics.csv", "manifest.json"):
        (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=r"expected a file .*config\.json, got a folder"):
        read_json(tmp_path)
    with pytest.raises(ValueError, match="got a folder"):
        find(tmp_path)
    with pytest.raises(ValueError, match="got a folder"):
        read_manifest(tmp_path)
    with pytest.raises(ValueError, match="got a folder"):
        read_rows(tmp_path / "metrics.csv", ())
    with pytest.raises(ValueError, match="got a folder"):
        RunFolder(tmp_path, resume=True).load_checkpoint(torch.device("cpu"))


@pytest.mark.parametrize(
    "values",
    [
        {"latents": 10**9},
        {"sprite_size": 10**9 + 1},
        {"max_objects": 10**9},
        {"pixel_scale": float("nan"), "likelihood": "normal"},
        {"scales": (1, 10**9), "networks": "world", "composition": "over"},
        {"background_states": 10**9, "canvas_size": (64, 64)},
        {"background_states": 2, "canvas_size": (10**5, 10**5)},
    ],
    ids=str,
)
def test_sizes_that_end_memory_are_refused(values):
    with pytest.raises(ValueError, match="expected"):
        LAVAEConfig(**values)


@pytest.mark.parametrize("values", [{"num_envs": 10**9}, {"width": 10**9}, {"learning_rate": float("nan")}], ids=str)
def test_presets_out_of_all_proportion_are_refused(values):
    with pytest.raises(ValueError, match="expected"):
        Preset(**values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda value: value.to(torch.int64), "as torch.float32"),
        (torch.zeros_like, "nothing but zeros"),
        (lambda value: value + 1, r"weights of SHA-256 .* remove weights_sha256"),
    ],
    ids=["whole numbers", "zeros", "others"],
)
def test_weights_that_are_not_those_of_the_training_are_refused(change, message, tmp_path, untrained):
    untrained.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    save_file({name: change(value) for name, value in load_file(path).items()}, path)
    _refused(lambda _: LAVAE.from_pretrained(tmp_path), path, message)


def test_without_the_hash_other_weights_load_and_bundled_models_have_it(tmp_path, untrained):
    untrained.save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    del content["weights_sha256"]
    (tmp_path / "config.json").write_text(json.dumps(content))
    save_file({name: value + 1 for name, value in untrained.state_dict().items()}, tmp_path / "model.safetensors")
    LAVAE.from_pretrained(tmp_path)
    assert all("weights_sha256" in read_json(find(name)) for name in bundled_names())


@pytest.mark.parametrize("values", [(-1,), (9, 10), (11,), (1, 0, float("nan"))], ids=str)
def test_progress_that_no_run_has_is_refused(values):
    with pytest.raises(ValueError, match="progress of a run of 10 steps"):
        Progress(*values).check(10)


@pytest.mark.parametrize("text", ["step,loss\nx,1\n", "step,loss\n1,\0\n", "step,loss\n1,x\n"])
def test_damaged_tables_are_refused(text, tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(text)
    _refused(lambda file: read_rows(file, ()), path, r"metrics\.csv is damaged")


def test_damaged_metrics_are_refused_when_a_run_goes_on(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "metrics.csv").write_text("step,loss\nx,1\n")
    with pytest.raises(ValueError, match=r"metrics\.csv is damaged .* remove it"):
        RunFolder(tmp_path, resume=True).forget_after(3)


@pytest.mark.parametrize(
    "count",
    [[np.nan, 1], [-1, 1], [0.5, 1], ["a", "b"], [1j, 1], [True, False], [np.inf, 1], [2**63, 1]],
    ids=["NaN", "negative", "fraction", "text", "complex", "bool", "infinite", "too large"],
)
def test_counts_have_to_be_whole_numbers(count, tmp_path):
    np.savez(tmp_path / "a.npz", x=IMAGES, n_obj=np.array(count))
    _refused(load_npz, tmp_path / "a.npz", "counts of objects, whole numbers from 0")


def test_whole_numbers_of_any_type_are_counts(tmp_path):
    np.savez(tmp_path / "a.npz", x=IMAGES, n_obj=np.array([2.0, 3.0], np.float32))
    assert load_npz(tmp_path / "a.npz")[1].tolist() == [2, 3]


def _header(shape):
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (_header((10**12,)), "promises 1,000,000,000,000 bytes"),
        (_header((2, 8, 8, -3)), "no array"),
        (b"no array", "no array"),
        (b"\x93NUMPY\1\0\x10\0" + b"(" * 16, "no array"),
    ],
    ids=["large", "negative", "text", "brackets"],
)
def test_headers_are_read_before_memory_is_taken(member, message, tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", member)
        archive.writestr("n_obj.npy", _header((2,)) + b"\1\1")
    _refused(load_npz, path, message)
    _refused(open_recording, path, message)


def test_encrypted_members_and_other_files_inside_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=IMAGES, n_obj=np.zeros(2, int))
    raw = bytearray(path.read_bytes())
    for start in (raw.index(b"PK\1\2") + 8, raw.index(b"PK\3\4") + 6):
        raw[start] |= 1
    path.write_bytes(raw)
    _refused(load_npz, path, "encrypted")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.txt", "text")
        archive.writestr("n_obj.txt", "text")
    _refused(load_npz, path, r"expected arrays 'x' .*got \[\]")


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.gif"])
def test_devices_and_pipes_are_never_read(name, tmp_path):
    (tmp_path / "device").mkdir()
    (tmp_path / "device" / name).symlink_to("/dev/zero")
    os.mkfifo(tmp_path / name)
    for path in (tmp_path / name, tmp_path / "device" / name):
        _refused(open_recording, path, "a device or a pipe")
        if name == "a.npz":
            _refused(load_npz, path, "a device or a pipe")


def _idx(folder, images, labels):
    for name, content in (("train-images-idx3-ubyte.gz", images), ("train-labels-idx1-ubyte.gz", labels)):
        with gzip.open(folder / name, "wb") as stream:
            for part in content:
                stream.write(part)


def test_labels_above_nine_and_files_that_expand_are_refused(tmp_path):
    images = b"\0\0\x08\x03\0\0\0\2\0\0\0\x1c\0\0\0\x1c", bytes(2 * 28 * 28)
    _idx(tmp_path, images, (b"\0\0\x08\x01\0\0\0\2", b"\3\x0a"))
    with pytest.raises(ValueError, match=r"labels of 0 to 9 .*got 10"):
        load_mnist_idx(tmp_path)
    _idx(tmp_path, (images[0], *[bytes(2**20)] * 64), (b"\0\0\x08\x01\0\0\0\2", b"\3\4"))
    with pytest.raises(ValueError, match=r"images-idx3-ubyte\.gz is damaged: its header promises 1568 bytes"):
        load_mnist_idx(tmp_path)
    _idx(tmp_path, (b"\0\0\x08\x03\x7f\0\0\0\0\0\0\x1c\0\0\0\x1c",), (b"\0\0\x08\x01\0\0\0\2", b"\3\4"))
    with pytest.raises(ValueError, match="expected at most 268,435,456 bytes"):
        load_mnist_idx(tmp_path)


def test_outputs_are_looked_at_before_anything_is_loaded(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluate_lavae, "load_model", lambda *_: pytest.fail("the model was loaded"))
    for flags in (["--json", str(tmp_path)], ["--picture", str(tmp_path / "nowhere" / "a.png")], ["--json", "/proc/a"]):
        with pytest.raises(SystemExit) as end:
            evaluate_lavae.main(["multi-dsprites", *flags])
        assert end.value.code == 1
        assert capsys.readouterr().out.startswith("error: ")


@pytest.mark.slow
def test_sigterm_ends_a_program_with_a_word(tmp_path):
    command = [sys.executable, "-c", WAITING]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate()[0] == "stopped\n"
    assert process.returncode == 130


WAITING = """
import time
from lavae_rl.runs.exits import clean_exit
with clean_exit():
    print("ready", flush=True)  # a signal inside a console's own print would keep what it prints next
    time.sleep(60)
"""


def test_the_handler_of_sigterm_is_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with clean_exit():
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is before
