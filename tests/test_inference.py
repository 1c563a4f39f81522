import torch
from torch import nn

from lavae_rl.model.inference import fold_batch_norms
from lavae_rl.model.lavae import LAVAE


def test_folded_networks_compute_the_same():
    torch.manual_seed(0)
    model, folded = (LAVAE.from_pretrained("multi-dsprites") for _ in range(2))
    fold_batch_norms(folded)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.location_network.modules())
    images = (torch.rand(4, 3, 64, 64) > 0.9).float()
    with torch.inference_mode():
        logits = model.location_network(images)
        assert logits.std() > 0.1
        torch.testing.assert_close(folded.location_network(images), logits, rtol=1e-3, atol=1e-3)


def test_convolutions_without_normalisation_stay_as_they_are():
    layers = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.BatchNorm2d(2)).eval()
    before = list(layers)
    fold_batch_norms(layers)
    assert list(layers) == before
