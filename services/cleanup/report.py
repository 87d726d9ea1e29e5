"""What a clean-up says: tables of what goes, what is restored and what stays, and the sum."""

from collections import Counter
from collections.abc import Iterator, Sequence

from contract.display import visible

from cleanup.choice import Choice
from cleanup.records import Item

UNITS = ("bytes", "KB", "MB", "GB", "TB")
# Of what stays, no more than a person reads; of what goes, all.
MOST_STAYING = 30
# So that nobody looks for it here: the service alone knows what it serves, and whose files they are.
CACHE = (
    "The model cache is no part of this. The prediction service removes from it what nobody needs: all but the last two versions, "
    "and what another model has left there, when no service has served that for 30 days."
)
WORDS = {"version": "version", "model": "logged model", "run": "run", "experiment": "experiment"}
HOUR_MS, DAY_MS = 3_600_000, 86_400_000


def size(count: int) -> str:
    """Return a number of bytes as people write it: 1.2 MB."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{count} {UNITS[0]}" if unit == 0 else f"{value:.1f} {UNITS[unit]}"


def age(milliseconds: int) -> str:
    """Return a span of time in its largest whole unit: 41 days, 3 h."""
    if milliseconds >= 2 * DAY_MS:
        return f"{milliseconds // DAY_MS} days"
    return f"{milliseconds // HOUR_MS} h" if milliseconds >= HOUR_MS else f"{max(milliseconds, 0) // 60_000} min"


def table(items: Sequence[Item], now_ms: int, bytes_of: dict[Item, int] | None = None) -> Iterator[str]:
    """Yield the lines of a table; `bytes_of` gives it a column of sizes."""
    head = ["kind", "id", "name", "age", *(["size"] if bytes_of is not None else []), "why"]
    rows = [head]
    for item in items:
        sizes = [] if bytes_of is None else [size(bytes_of[item]) if item in bytes_of else "-"]
        rows.append(
            [item.kind, item.id, visible(item.name, 40), age(now_ms - item.since_ms), *sizes, visible(item.why, 200)]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def plan(choice: Choice, sizes: dict[Item, int], now_ms: int, is_done: bool) -> Iterator[str]:
    """Yield what is to go, with its sum, what is restored and what stays; `is_done`: it is done now, and not only shown."""
    if choice.goes:
        yield "Goes:" if is_done else "Would go:"
        yield from table(choice.goes, now_ms, sizes)
        yield f"Together: {_counts(choice.goes)}; {size(sum(sizes.values()))}."
    else:
        yield "There is nothing to remove."
    if choice.restored:
        yield f"{'Is' if is_done else 'Would be'} restored, as it was deleted in MLflow and is still needed:"
        yield from table(choice.restored, now_ms)
    if choice.stays:
        yield "Stays:"
        yield from table(choice.stays[:MOST_STAYING], now_ms)
    if len(choice.stays) > MOST_STAYING:
        yield f"  … and {len(choice.stays) - MOST_STAYING} more"


def done(gone: Sequence[Item], sizes: dict[Item, int], keeps_old_versions: bool, days: str) -> str:
    """Say what went, how much room is free again, and how long it can be undone."""
    freed = size(sum(sizes.get(item, 0) for item in gone))
    if not gone:
        return "Removed: nothing."
    if not keeps_old_versions:
        return f"Removed: {_counts(gone)}. {freed} are free again. This cannot be undone."
    return (
        f"Removed: {_counts(gone)}. No room is free yet: the bucket keeps the old versions of their files {_span(days)}, from which "
        f"they can be brought back; then {freed} are free again. Their rows in the database come back from a backup alone."
    )


def beforehand(keeps_old_versions: bool, days: str) -> str:
    """Say when the room of what would go is free again."""
    if not keeps_old_versions:
        return "Its room is free at once, and it cannot be undone."
    return f"Its room is not free at once: the bucket keeps the old versions of files {_span(days)}."


def _span(days: str) -> str:
    return {"": "as long as its own rules say", "0": "for ever (KEEP_DELETED_DAYS=0)"}.get(
        days, f"for {days} days (KEEP_DELETED_DAYS)"
    )


def _counts(items: Sequence[Item]) -> str:
    counts = Counter(item.kind for item in items)
    return ", ".join(f"{count} {WORDS[kind]}{'' if count == 1 else 's'}" for kind, count in counts.items())
