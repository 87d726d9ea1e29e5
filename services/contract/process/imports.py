"""How a process imports what takes it a second or more."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import without looking for garbage, which takes a third of the time: what a module consists of lives as long as the process."""
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def import_once(name: str) -> None:
    """Import a module so, where it is not here yet: in a process that works meanwhile, and asks for it again and again."""
    if name not in sys.modules:
        gc.collect()  # what is garbage by then would never be looked at again
        with quick_imports():
            import_module(name)
