import numpy as np
import pytest

from lavae_rl.perception.overlay import draw_objects

COLOR = (255, 160, 0)
GREEN, RED = (20, 200, 30), (255, 40, 40)


def _marked(picture):
    return (picture == COLOR).all(axis=2)


@pytest.mark.parametrize("zoom", [8, 12])
def test_models_with_a_background_have_boxes_around_what_objects_show(colored, color_dots, zoom):
    objects = colored.encode(color_dots((20, 30, RED)))
    picture = np.zeros((40 * zoom, 50 * zoom, 3), np.uint8)
    marked = _marked(draw_objects(picture, objects, colored)[: 40 * zoom])
    # Of scale 2, two pixels a side, drawn around them.
    row, column, height, width = (objects.box[0, 0] * zoom).tolist()
    assert (height, width) == (2 * zoom, 2 * zoom)
    assert marked[row - 1, column - 1 : column + 3].all()
    assert marked[row + height, column + width - 3 : column + width + 1].all()
    assert marked[row + height - 3 : row + height, [column - 1, column + width]].all()
    assert not marked[row : row + height, column : column + width].any()


def test_others_have_crosses_alone(dotted, dots):
    objects = dotted.encode(dots(40, 40, (20, 30)))
    marked = _marked(draw_objects(np.zeros((320, 320, 3), np.uint8), objects, dotted)[:320])
    rows, columns = np.nonzero(marked)
    assert abs(rows - 164).max() <= 12
    assert abs(columns - 244).max() <= 16
    assert marked[164, 244]


def test_marks_follow_the_area_of_the_canvas_in_the_picture(dotted, dots):
    objects = dotted.encode(dots(40, 40, (20, 30)))
    picture = np.zeros((400, 800, 3), np.uint8)
    marked = _marked(draw_objects(picture, objects, dotted, (0.5, 0.25, 0.25, 0.5))[:400])
    assert marked[int(200 + 20.5 / 40 * 100), int(200 + 30.5 / 40 * 400)]
    assert not marked[:190].any()


def test_tiles_show_sprites_in_the_colours_of_the_model(colored, color_dots):
    objects = colored.encode(color_dots((9, 9, GREEN), (30, 30, RED)), max_objects=3)
    strip = draw_objects(np.zeros((40, 150, 3), np.uint8), objects, colored)[40:]
    assert strip.shape == (48, 150, 3)
    middles = [strip[23, 48 * slot + 23].tolist() for slot in range(3)]
    expected = [GREEN, RED] if objects.location[0, 0, 0] == 9 else [RED, GREEN]
    np.testing.assert_allclose(middles, [*expected, (0, 0, 0)], atol=1)


def test_tiles_of_grey_models_are_grey(dotted, dots):
    strip = draw_objects(np.zeros((40, 150, 3), np.uint8), dotted.encode(dots(40, 40, (20, 30))), dotted)[40:]
    tile = strip[15:46, 12:46]
    assert tile.any()
    assert (tile == tile[..., :1]).all()


def test_the_picture_handed_in_is_left_as_it_is(colored, color_dots):
    objects = colored.encode(color_dots((20, 30, RED)))
    picture = np.zeros((40, 50, 3), np.uint8)
    draw_objects(picture, objects, colored)
    assert not picture.any()
