import subprocess
import sys

import pytest

import lavae_rl

HEAVY = ("cv2", "stable_baselines3", "torch")
PUBLIC = ["LAVAE", "LAVAEConfig", "LAVAEObservation", "Objects", "Preprocessing", "VectorLAVAEObservation"]


def heavy_modules_after(statement: str) -> list[str]:
    """Which of HEAVY a fresh interpreter has loaded after ``statement``."""
    program = f"import sys\n{statement}\nprint(*sorted({HEAVY} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_importing_the_package_is_light():
    assert heavy_modules_after("import lavae_rl") == []


def test_the_version_is_light():
    assert heavy_modules_after("import lavae_rl; lavae_rl.__version__") == []


def test_making_scenes_does_not_load_torch():
    assert heavy_modules_after("import lavae_rl.data.scenes, lavae_rl.data.sources") == ["cv2"]


@pytest.mark.slow
def test_lightness_check_can_fail():
    assert "torch" in heavy_modules_after("import lavae_rl.model.lavae")


def test_public_surface_is_exactly_this():
    assert sorted(lavae_rl.__all__) == PUBLIC
    assert set(PUBLIC) <= set(dir(lavae_rl))


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_is_found_where_it_is_defined(name: str):
    assert getattr(lavae_rl, name).__name__ == name


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'lavae_rl' has no attribute 'LAVEA'"):
        lavae_rl.LAVEA  # noqa: B018
