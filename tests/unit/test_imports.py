"""What a process imports is not looked through for garbage, and all that comes later is."""

import gc
import sys
import weakref
from pathlib import Path

import pytest
from contract.process.imports import import_once, quick_imports


def test_nobody_looks_for_garbage_while_modules_are_imported_and_somebody_does_afterwards() -> None:
    with quick_imports():
        assert not gc.isenabled()
    assert gc.isenabled()


@pytest.fixture
def freezes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note each time that what is there is kept for ever; to ask how much that is would count a million objects one by one."""
    noted: list[int] = []
    monkeypatch.setattr(gc, "freeze", lambda: noted.append(len(noted)))
    return noted


def test_an_import_that_fails_leaves_the_looking_for_garbage_on(freezes: list[int]) -> None:
    with pytest.raises(ModuleNotFoundError), quick_imports():
        import there_is_no_such_module  # type: ignore[import-not-found]  # noqa: F401
    assert gc.isenabled()
    # Who asks again and again would keep for ever what it had at hand each time.
    with pytest.raises(ModuleNotFoundError):
        import_once("there_is_no_such_module")
    assert freezes == []


def test_what_is_there_already_is_not_imported_again_and_what_has_come_since_is_still_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, freezes: list[int]
) -> None:
    (tmp_path / "heavy_module_of_a_test.py").write_text("import gc\nwas_looking = gc.isenabled()\n")
    monkeypatch.syspath_prepend(tmp_path)
    import_once("heavy_module_of_a_test")
    assert sys.modules.pop("heavy_module_of_a_test").was_looking is False
    assert len(freezes) == 1
    import_once("pytest")
    assert len(freezes) == 1


def test_what_is_garbage_before_an_import_is_not_kept_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ring:
        itself: "Ring"

    (tmp_path / "another_module_of_a_test.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    gc.disable()  # so that nobody finds it by chance
    ring = Ring()
    ring.itself = ring
    found = weakref.ref(ring)
    del ring
    import_once("another_module_of_a_test")
    del sys.modules["another_module_of_a_test"]
    assert found() is None
