import csv

import pytest
import torch

from lavae_rl.runs.claims import claimed
from lavae_rl.runs.config import read_json
from lavae_rl.runs.folder import RunFolder


@pytest.fixture
def folder(tmp_path, untrained):
    with RunFolder(tmp_path / "run", resume=False) as folder:
        untrained.save_pretrained(folder.path, {"seed": 1})
        yield folder


def _rows(folder):
    with (folder.path / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match=r"holds another run or other files.*--resume.*--out"):
        RunFolder(tmp_path, resume=False)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_its_place_is_refused(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(FileExistsError):
        RunFolder(tmp_path / "run", resume=False)


def test_a_folder_without_a_run_is_not_resumed(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        RunFolder(tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


def test_checkpoints_come_back(folder):
    cpu = torch.device("cpu")
    assert folder.load_checkpoint(cpu) is None
    folder.save_checkpoint({"step": 3, "weights": {"a": torch.arange(4.0)}})
    state = folder.load_checkpoint(cpu)
    assert state["step"] == 3
    assert state["weights"]["a"].tolist() == [0, 1, 2, 3]


class Payload:
    def __reduce__(self):
        return print, ("code from the file runs",)


@pytest.mark.parametrize("content", ["cut", b"", b"text", Payload()], ids=["cut", "empty", "text", "code"])
def test_damaged_or_foreign_checkpoints_are_refused_and_run_no_code(folder, content, capsys):
    folder.save_checkpoint({"step": 3, "weights": torch.arange(1000.0)})
    path = folder.path / "checkpoint.pt"
    if content == "cut":
        path.write_bytes(path.read_bytes()[:-500])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save({"step": content}, path)
    with pytest.raises(ValueError, match="truncated or not a checkpoint"):
        folder.load_checkpoint(torch.device("cpu"))
    assert "code" not in capsys.readouterr().out


def test_a_crash_while_saving_leaves_the_last_checkpoint_and_model_whole(folder, untrained, monkeypatch):
    folder.save_checkpoint({"step": 3})
    weights = (folder.path / "model.safetensors").read_bytes()

    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", crash)
    with pytest.raises(KeyboardInterrupt):
        folder.save_checkpoint({"step": 4})
    monkeypatch.setattr("safetensors.torch.save", crash)
    with pytest.raises(KeyboardInterrupt):
        untrained.save_pretrained(folder.path, {"seed": 2})
    assert folder.load_checkpoint(torch.device("cpu")) == {"step": 3}
    assert (folder.path / "model.safetensors").read_bytes() == weights
    assert read_json(folder.path)["seed"] == 1


def test_metrics_grow_and_are_forgotten_from_a_step_on(folder):
    for step in (25, 50, 75):
        folder.log(step, {"loss": step / 100, "elbo": float("nan")})
    with (folder.path / "metrics.csv").open("a") as stream:
        stream.write("100,0.")  # the write a crash cut short
    folder.forget_after(50)
    assert [row["step"] for row in _rows(folder)] == ["25", "50"]
    folder.log(75, {"loss": 0.7, "elbo": -9.0})
    assert [(row["loss"], row["elbo"]) for row in _rows(folder)] == [("0.25", "nan"), ("0.5", "nan"), ("0.7", "-9.0")]


def test_forgetting_without_metrics_does_nothing(folder):
    folder.forget_after(0)
    assert not (folder.path / "metrics.csv").exists()


def test_a_folder_is_trained_in_by_one_process(tmp_path):
    with RunFolder(tmp_path, resume=False) as first, RunFolder(tmp_path, resume=False) as second:
        first.claim()
        with pytest.raises(FileExistsError, match="another process trains in"):
            second.claim()
    with claimed(tmp_path):  # the first has left
        pass
