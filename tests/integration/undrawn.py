"""The pictures of a training, drawn already: for what a training does beside them, of which drawing would be half."""

from typing import Self

from trainer.plots.worker import Drawing


class Undrawn(Drawing):
    """Pictures by their names, without a process that draws them."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Leave nothing: there is no process."""

    def begin(self, *subject: object) -> None:
        """Draw nothing."""

    def pictures(self) -> dict[str, bytes]:
        names = ("confusion_matrix", "curves", "importance", "learning_curve")
        return {f"{name}.png": b"\x89PNG" for name in names}
