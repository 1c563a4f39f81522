import pytest
import torch

from lavae_rl.model.auxiliary import HOT, STRIDE, AuxiliaryVAE

NATS = 20.0


def _generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("canvas_size", [(24, 24), (18, 29)])
def test_any_canvas_is_explained_pixel_by_pixel(canvas_size):
    vae = AuxiliaryVAE(3, width=4, latents=2)
    log_likelihood, kl = vae(torch.zeros(2, 3, *canvas_size), _generator())
    assert log_likelihood.shape == (2,)
    assert kl.shape == (2, -(-canvas_size[0] // STRIDE), -(-canvas_size[1] // STRIDE))
    assert (kl >= 0).all()
    assert vae.location_map(kl, canvas_size, 13).shape == (2, *canvas_size)


def _map(*cells, canvas=32):
    kl = torch.zeros(1, canvas // STRIDE, canvas // STRIDE)
    for row, column in cells:
        kl[0, row, column] = NATS
    return AuxiliaryVAE(1, width=4, latents=2).location_map(kl, (canvas, canvas), 13)[0]


def test_an_informative_cell_is_hot_at_its_centre_and_the_rest_is_cold():
    target = _map((3, 5))
    row, column = divmod(int(target.argmax()), 32)
    assert abs(row - (3 + 0.5) * STRIDE) <= 1
    assert abs(column - (5 + 0.5) * STRIDE) <= 1
    assert target.max() == pytest.approx(HOT)
    assert target[-1, 0] == pytest.approx(-HOT)


def test_cells_of_one_object_make_one_peak():
    target = _map((3, 5), (3, 4), (4, 5), (4, 4))
    row, column = divmod(int(target.argmax()), 32)
    assert abs(row - 4 * STRIDE) <= 1
    assert abs(column - 5 * STRIDE) <= 1


def test_far_cells_are_two_peaks():
    target = _map((1, 1), (6, 6))
    assert target[6, 6] > 0.9 * HOT
    assert target[26, 26] > 0.9 * HOT
    assert target[16, 16] < 0


def test_what_counts_as_an_object_follows_the_information_slowly():
    vae = AuxiliaryVAE(1, width=4, latents=2)
    kl = torch.zeros(1, 8, 8)
    kl[0, 3, 5] = NATS
    vae.location_map(kl, (32, 32), 13)
    halved = vae.location_map(kl / 2, (32, 32), 13)
    assert halved.max() == pytest.approx(0, abs=0.3)


def test_empty_scenes_are_cold():
    vae = AuxiliaryVAE(1, width=4, latents=2)
    target = vae.location_map(torch.zeros(2, 8, 8), (32, 32), 13)
    assert (target == -HOT).all()


def test_the_map_carries_no_gradient():
    vae = AuxiliaryVAE(1, width=4, latents=2)
    _, kl = vae(torch.ones(1, 1, 32, 32), _generator())
    assert not vae.location_map(kl, (32, 32), 13).requires_grad


def test_the_map_is_float32_under_autocast():
    vae = AuxiliaryVAE(1, width=4, latents=2)
    with torch.autocast("cpu", torch.bfloat16):
        log_likelihood, kl = vae(torch.ones(1, 1, 32, 32), _generator())
        target = vae.location_map(kl, (32, 32), 13)
    assert {log_likelihood.dtype, kl.dtype, target.dtype} == {torch.float32}
