import warnings

from lavae_rl.warn import LIBRARIES, warn_user


def _library(name, depth):
    """A function that warns from below so many lines of a package."""
    source = "def run(depth):\n    return run(depth - 1) if depth else warn_user('look here')"
    namespace = {"warn_user": warn_user, "__name__": name}
    exec(compile(source, f"{name}.py", "exec"), namespace)
    return lambda: namespace["run"](depth)


def _place(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert [each.category for each in caught] == [UserWarning]
    return caught[0].filename


def test_warnings_point_at_the_line_that_called_the_libraries():
    for name in LIBRARIES:
        assert _place(_library(f"{name}.inner", 5)) == __file__
        assert _place(_library(name, 0)) == __file__


def test_warnings_point_at_the_innermost_line_that_is_not_of_a_library():
    assert _place(_library("somebody", 3)) == "somebody.py"
    assert _place(_library("lavae_rl_friend", 0)) == "lavae_rl_friend.py"


def test_a_warning_of_ones_own_line_points_there():
    assert _place(lambda: warn_user("look here")) == __file__
