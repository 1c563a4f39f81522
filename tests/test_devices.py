import pytest

from lavae_rl.runs.devices import choose_device


@pytest.mark.parametrize(
    ("name", "gpu", "chosen"),
    [("auto", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_a_device_that_exists_is_chosen(name, gpu, chosen, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    assert choose_device(name) == chosen


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match="PyTorch sees no CUDA device here; use --device cpu"):
        choose_device("cuda")
