"""Seeds are the straight paths of hits through the first planes."""

import numpy as np

from mltrack_plugin.published.heptrkx.images.seeds import seeded_images, straight_seeds


def image_of(pixels, width=10, planes=10):
    image = np.zeros((planes, width), dtype=np.float32)
    for plane, chosen in enumerate(pixels):
        image[plane, chosen] = 1
    return image


def test_every_straight_track_gives_the_seed_of_its_own_pixels():
    rng = np.random.default_rng(1)
    for _ in range(200):
        entry, leave = rng.uniform(0, 10, 2)
        pixel = np.floor(entry + (leave - entry) / 10 * np.arange(10)).astype(int)
        seeds = straight_seeds(image_of(pixel[:, None]), 5)
        assert seeds.tolist() == [pixel[:5].tolist()]


def test_a_gap_or_a_kink_is_no_seed():
    assert len(straight_seeds(image_of([[3], [3], [], [3], [3]]), 5)) == 0
    assert len(straight_seeds(image_of([[3], [3], [5], [3], [3]]), 5)) == 0


def test_too_steep_a_path_is_no_seed():
    # Two pixels a plane: a track crosses no more than the width of the detector on all planes.
    assert len(straight_seeds(image_of([[0], [2], [4], [6], [8]]), 5)) == 0


def test_crossing_tracks_give_both_seeds():
    seeds = straight_seeds(image_of([[2, 6], [3, 5], [4], [3, 5], [2, 6]]), 5)
    assert [2, 3, 4, 5, 6] in seeds.tolist()
    assert [6, 5, 4, 3, 2] in seeds.tolist()


def test_an_empty_image_has_no_seeds():
    assert straight_seeds(np.zeros((6, 4)), 5).shape == (0, 5)


def test_seeded_images_show_one_seed_in_front_and_everything_behind():
    image = image_of([[1, 2], [1, 2], [1, 2], [0, 3]], width=4, planes=4)
    images = seeded_images(image, np.array([[1, 1], [2, 2]]))
    assert images.shape == (2, 4, 4)
    for one, pixel in zip(images, (1, 2), strict=True):
        assert np.argwhere(one[:2]).tolist() == [[0, pixel], [1, pixel]]
        np.testing.assert_array_equal(one[2:], image[2:])


def test_smeared_hits_are_seeds_within_the_tolerance():
    image = image_of([[3], [4], [3], [6], [3]])
    assert len(straight_seeds(image, 3)) == 0
    assert straight_seeds(image, 3, tolerance=1).tolist() == [[3, 4, 3]]
    assert len(straight_seeds(image, 5, tolerance=2)) == 0
    assert straight_seeds(image, 5, tolerance=3).tolist() == [[3, 4, 3, 6, 3]]
    # The hit nearest to the line is taken.
    assert straight_seeds(image_of([[3], [2, 3, 4], [3]]), 3, tolerance=1).tolist() == [[3, 3, 3]]


def test_seeds_go_on_at_the_other_side_of_an_unrolled_plane():
    image = image_of([[9], [0], [1]])
    assert len(straight_seeds(image, 3)) == 0
    assert straight_seeds(image, 3, around=True).tolist() == [[9, 0, 1]]
    assert straight_seeds(image[:, ::-1], 3, around=True).tolist() == [[0, 9, 8]]
