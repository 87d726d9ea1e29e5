"""What a process imports is not looked through for garbage, and all that comes later is."""

import gc

import pytest
from contract.process.imports import quick_imports


def test_nobody_looks_for_garbage_while_modules_are_imported_and_somebody_does_afterwards() -> None:
    with quick_imports():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_import_that_fails_leaves_the_looking_for_garbage_on() -> None:
    with pytest.raises(ModuleNotFoundError), quick_imports():
        import there_is_no_such_module  # type: ignore[import-not-found]  # noqa: F401
    assert gc.isenabled()
