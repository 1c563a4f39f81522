import pytest
import torch

from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.networks.families import FAMILIES
from lavae_rl.model.objects import Detections

SIZE, LATENTS = 21, 7


@pytest.fixture(params=sorted(FAMILIES))
def family(request):
    return FAMILIES[request.param]


def _read(family, channels):
    """Channels that the networks of a family read of images with so many."""
    return 2 * channels if family.reads_difference else channels


def _logits(family, images):
    """One map of logits, of families with several scales too."""
    channels = images.shape[1] // (2 if family.reads_difference else 1)
    logits = family.location(LAVAEConfig(channels)).eval()(images)
    return logits[:, 0] if family.reads_difference else logits


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("canvas", [(64, 64), (48, 90), (61, 47)])
def test_location_logits_are_one_per_pixel_on_any_canvas(family, channels, canvas):
    assert _logits(family, torch.rand(2, _read(family, channels), *canvas)).shape == (2, *canvas)


def test_no_images_have_no_logits(family):
    assert _logits(family, torch.zeros(0, _read(family, 3), 64, 48)).shape == (0, 64, 48)


def test_location_logits_start_near_nowhere(family):
    torch.manual_seed(0)
    logits = _logits(family, torch.zeros(1, _read(family, 1), 64, 64))
    assert (logits < -1).all()


def test_location_logits_follow_their_object(family):
    torch.manual_seed(0)
    network = family.location(LAVAEConfig(1)).eval()
    image = torch.zeros(1, _read(family, 1), 80, 80)
    image[:, :, 30:40, 32:38] = 1
    moved = torch.roll(image, (4, 8), (2, 3))
    inner = slice(24, 56)
    torch.testing.assert_close(
        torch.roll(network(image), (4, 8), (-2, -1))[..., inner, inner],
        network(moved)[..., inner, inner],
        atol=1e-4,
        rtol=0,
    )


def test_appearance_depends_only_on_the_window_at_the_location(family):
    torch.manual_seed(0)
    network = family.appearance(3, SIZE, LATENTS).eval()
    image = torch.rand(1, _read(family, 3), 64, 64)
    other = image.clone()
    other[:, :, :15] = 0
    found = Detections(torch.tensor([0, 0]), torch.tensor([[40, 30], [10, 10]]), torch.tensor([2]))
    mean, log_variance = network(image, found)
    other_mean, _ = network(other, found)
    assert mean.shape == log_variance.shape == (2, LATENTS)
    torch.testing.assert_close(mean[0], other_mean[0])
    assert not torch.allclose(mean[1], other_mean[1])


@pytest.mark.parametrize("channels", [1, 3])
def test_sprites_are_pixel_means_that_start_dark(family, channels):
    torch.manual_seed(0)
    sprites = family.decoder(channels, SIZE, LATENTS).eval()(torch.randn(7, LATENTS))
    alpha = family.reads_difference
    assert sprites.shape == (7, channels + alpha, SIZE, SIZE)
    assert sprites.min() >= 0
    shown = sprites[:, :-1] * sprites[:, -1:] if alpha else sprites
    assert shown.mean() < 0.3


def test_no_objects_give_no_appearances_and_no_sprites(family):
    none = torch.zeros(0, dtype=torch.int64)
    nothing = Detections(none, none.view(0, 1).expand(0, 2), torch.tensor([0]))
    mean, _ = family.appearance(1, SIZE, LATENTS).eval()(torch.rand(1, _read(family, 1), 64, 64), nothing)
    assert family.decoder(1, SIZE, LATENTS).eval()(mean).shape == (0, 1 + family.reads_difference, SIZE, SIZE)


@pytest.mark.parametrize(("channels", "size", "latents"), [(3, 21, 8), (1, 19, 16)])
def test_the_papers_networks_have_half_a_million_parameters_in_three_near_equal_parts(channels, size, latents):
    paper = FAMILIES["paper"]
    networks = (
        paper.location(LAVAEConfig(channels)),
        paper.appearance(channels, size, latents),
        paper.decoder(channels, size, latents),
    )
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in networks]
    assert 450_000 < sum(counts) < 550_000
    assert max(counts) < 1.15 * min(counts)


def test_under_autocast_networks_give_float32(family):
    images = torch.ones(2, _read(family, 1), 24, 24)
    found = Detections(torch.tensor([0, 1]), torch.tensor([[12, 12], [3, 20]]), torch.tensor([1, 1]))
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        mean, log_variance = family.appearance(1, SIZE, LATENTS)(images, found)
        sprites = family.decoder(1, SIZE, LATENTS)(mean)
        outputs = [family.location(LAVAEConfig(1))(images), mean, log_variance, sprites]
    assert {output.dtype for output in outputs} == {torch.float32}
