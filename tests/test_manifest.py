import json

import pytest

from lavae_rl.data.manifest import MANIFEST_FILE, Rollouts, episode_file, read_manifest, write_manifest


def test_a_manifest_survives_json(tmp_path):
    done = Rollouts("Some-v0", {"a": [1, 2]}, "sticky", 9, 2, 3, "key", [4, 5], 6, "hw", [7, 8, 1], {"numpy": "2.0"})
    write_manifest(done, tmp_path)
    assert read_manifest(tmp_path) == done
    assert done.collected == 9
    assert done.files == ["episode-00000.npy", "episode-00001.npy"]
    assert episode_file(123_456) == "episode-123456.npy"


def test_a_folder_may_have_no_manifest(tmp_path):
    assert read_manifest(tmp_path) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_frames": 0}, "at least 1 frame to collect, got 0"),
        ({"max_frames": 3}, "max_frames 1 or 2, got 3"),
        ({"seed": -1}, "a seed of at least 0, got -1"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Rollouts(**{"env_id": "Some-v0", "env_kwargs": {}, "policy": "random", "num_frames": 9} | changes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "manifest.json is damaged"),
        ("[]", "manifest.json is damaged: expected a JSON object, got list"),
        (json.dumps({"format": 2}), "manifest.json has format 2, .* update lavae-rl"),
        (json.dumps({"format": 1, "env_id": 3}), "manifest.json to hold Rollouts"),
        (json.dumps({"format": 1, "more": 3}), "manifest.json to hold Rollouts"),
    ],
)
def test_damaged_manifests_are_refused(tmp_path, content, message):
    (tmp_path / MANIFEST_FILE).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_manifest(tmp_path)
