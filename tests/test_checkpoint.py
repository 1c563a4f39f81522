import sys
import types

import pytest

from lavae_rl.model import checkpoint
from lavae_rl.model.lavae import LAVAE


@pytest.fixture
def hub(monkeypatch, tmp_path, untrained):
    """A stand-in for huggingface_hub with one repository, and what was asked of it."""
    untrained.save_pretrained(tmp_path / "snapshot")
    calls: list[tuple[object, ...]] = []

    class HfApi:
        def create_repo(self, repository, exist_ok):
            calls.append(("create", repository, exist_ok))

        def upload_folder(self, repo_id, folder_path, allow_patterns):
            calls.append(("upload", repo_id, folder_path, allow_patterns))

    def snapshot_download(repository, allow_patterns):
        calls.append(("download", repository, allow_patterns))
        return str(tmp_path / "snapshot")

    stand_in = types.ModuleType("huggingface_hub")
    stand_in.__dict__.update(HfApi=HfApi, snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", stand_in)
    return calls


def test_a_repository_of_the_hub_is_downloaded_and_loaded(hub, untrained):
    model = LAVAE.from_pretrained("somebody/digits")
    assert model.config == untrained.config
    assert hub == [("download", "somebody/digits", ["config.json", "model.safetensors"])]


def test_a_model_is_uploaded_without_its_checkpoints(hub, tmp_path):
    checkpoint.push(tmp_path / "snapshot", "me/digits")
    files = ["config.json", "model.safetensors"]
    assert hub == [("create", "me/digits", True), ("upload", "me/digits", tmp_path / "snapshot", files)]


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"somebody/digits.*pip install .lavae-rl\[hub\]"):
        LAVAE.from_pretrained("somebody/digits")


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere", "a/b/c", "multi-cats"])
def test_what_cannot_be_a_repository_never_reaches_the_hub(name, hub):
    with pytest.raises(FileNotFoundError, match="expected a folder or one of the bundled models"):
        LAVAE.from_pretrained(name)
    assert hub == []
