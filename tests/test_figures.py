import numpy as np

from lavae_rl.evaluation.figures import reconstruction_figure

MARK = (255, 160, 0)


def test_reconstructions_stand_below_their_frames_with_the_predicted_centres_on_both(dotted, dots):
    frames = np.concatenate([dots(40, 50, (9, 30)), dots(40, 50), dots(40, 50, (20, 12), (30, 30))])
    figure = reconstruction_figure(dotted, frames)
    height, width = 40 * 3 + 4, 50 * 3 + 4
    assert figure.shape == (2 * height, 3 * width, 3)
    marked = (figure == MARK).all(axis=2)
    for row, scene, location in ((0, 0, (9, 30)), (1, 0, (9, 30)), (0, 2, (20, 12)), (1, 2, (30, 30))):
        assert marked[row * height + 2 + 3 * location[0] + 1, scene * width + 2 + 3 * location[1] + 1]
    assert not marked[:, width : 2 * width].any()
