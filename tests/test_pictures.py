import cv2
import numpy as np
import pytest

from lavae_rl.pictures import BOX_COLORS, frame_rows, mark_boxes, mark_centres, save_png, stacked, to_bytes, write_gif

MARK = (255, 160, 0)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_marked_frame_is_three_times_as_large_in_rgb_with_a_grey_frame(channels):
    frame = np.zeros((20, 30, channels), np.uint8)
    picture = mark_centres(frame, np.zeros((0, 2), np.int64))
    assert picture.shape == (20 * 3 + 4, 30 * 3 + 4, 3)
    assert (picture[[0, 1, -2, -1]] == 96).all()
    assert (picture[:, [0, 1, -2, -1]] == 96).all()
    assert not picture[2:-2, 2:-2].any()


def test_pixels_keep_their_place_and_colour():
    frame = np.zeros((20, 30, 3), np.uint8)
    frame[4, 25] = (255, 0, 255)
    inner = mark_centres(frame, np.zeros((0, 2), np.int64))[2:-2, 2:-2]
    rows, columns = np.nonzero(inner.any(axis=2))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (12, 14, 75, 77)
    assert (inner[12:15, 75:78] == (255, 0, 255)).all()


def test_a_mark_is_a_cross_on_its_location():
    frame = np.full((20, 30, 1), 255, np.uint8)
    inner = mark_centres(frame, np.array([[4, 25], [15, 8]]))[2:-2, 2:-2]
    marked = (inner == MARK).all(axis=2)
    for row, column in ((4, 25), (15, 8)):
        # The middle of the 3 x 3 block of the location, and both arms as long as each other.
        centre = (3 * row + 1, 3 * column + 1)
        assert marked[centre]
        assert marked[centre[0] - 5 : centre[0] + 6, centre[1]].all()
        assert marked[centre[0], centre[1] - 5 : centre[1] + 6].all()
        marked[centre[0] - 7 : centre[0] + 8, centre[1] - 7 : centre[1] + 8] = False
    assert not marked.any()


def test_the_frame_handed_in_is_left_as_it_is(dots):
    frame = dots(20, 30, (4, 25))[0]
    mark_centres(frame, np.array([[4, 25]]))
    np.testing.assert_array_equal(frame, dots(20, 30, (4, 25))[0])


def test_a_saved_picture_comes_back_in_the_same_colours(tmp_path):
    picture = np.random.default_rng(0).integers(256, size=(7, 5, 3), dtype=np.uint8)
    save_png(tmp_path / "picture.png", picture)
    read = cv2.imread(str(tmp_path / "picture.png"))
    assert read is not None
    np.testing.assert_array_equal(read[..., ::-1], picture)


@pytest.mark.parametrize(
    ("name", "error"),
    [("missing/picture.png", FileNotFoundError), (".", IsADirectoryError)],
    ids=["no folder", "folder"],
)
def test_a_picture_that_cannot_be_written_is_an_os_error(tmp_path, name, error):
    with pytest.raises(error):
        save_png(tmp_path / name, np.zeros((4, 4, 3), np.uint8))


def test_pictures_are_png_whatever_their_name_says(tmp_path):
    save_png(str(tmp_path / "picture"), np.zeros((4, 4, 3), np.uint8))
    assert (tmp_path / "picture").read_bytes().startswith(b"\x89PNG")


def test_means_become_bytes():
    assert to_bytes(np.array([0, 0.5, 1])).tolist() == [0, 128, 255]


def test_rows_of_frames_stand_below_each_other_with_the_same_marks():
    frames = np.zeros((3, 10, 12, 1), np.uint8)
    centres = [np.array([[4, 5]]), np.zeros((0, 2)), np.array([[7, 2]])]
    picture = frame_rows(frames, frames + np.uint8(255), centres=centres)
    height, width = 10 * 3 + 4, 12 * 3 + 4
    assert picture.shape == (2 * height, 3 * width, 3)
    for row in range(2):
        for column, frame in enumerate((frames, frames + np.uint8(255))[row]):
            tile = picture[row * height : (row + 1) * height, column * width : (column + 1) * width]
            np.testing.assert_array_equal(tile, mark_centres(frame, centres[column]))


def test_an_animation_keeps_pictures_colours_and_times(tmp_path):
    pictures = [np.full((8, 6, 3), color, np.uint8) for color in ((255, 0, 0), (0, 0, 255))]
    write_gif(tmp_path / "film.gif", zip(pictures, (1, 3), strict=True), fps=10.0)
    done, film = cv2.imreadanimation(str(tmp_path / "film.gif"))
    assert done
    assert list(film.durations) == [100, 300]
    assert all((frame[..., 2::-1] == picture).all() for frame, picture in zip(film.frames, pictures, strict=True))


def test_a_box_leaves_its_pixels_visible_and_has_the_colour_of_its_number():
    frame = np.zeros((20, 30, 3), np.uint8)
    frame[5:9, 10:16] = 255
    boxes = np.array([[5, 10, 4, 6], [0, 0, 2, 2]])
    picture = mark_boxes(frame, boxes, np.array([1, 1 + len(BOX_COLORS)]))
    inner = picture[2:-2, 2:-2]
    assert (inner[15:27, 30:48] == 255).all()
    drawn = (inner == BOX_COLORS[1]).all(axis=2)
    assert drawn[14, 29:49].all()
    assert drawn[27, 29:49].all()
    assert drawn[14:28, [29, 48]].all()
    assert drawn[6, :6].all()


def test_boxes_have_the_first_colour_by_default():
    picture = mark_boxes(np.zeros((20, 30, 1), np.uint8), np.array([[5, 10, 4, 6]]))
    assert (picture == BOX_COLORS[0]).all(axis=2).sum() == 2 * (14 + 20) - 4


def test_stacked_pictures_are_filled_up_at_the_right():
    wide, narrow = np.full((4, 9, 3), 200, np.uint8), np.full((3, 5, 3), 100, np.uint8)
    picture = stacked([wide, narrow])
    assert picture.shape == (7, 9, 3)
    assert (picture[:4] == 200).all()
    assert (picture[4:, :5] == 100).all()
    assert (picture[4:, 5:] == 32).all()
