"""`monitor report`: a look at a time of the prediction log, as text, as a page, and as a run in MLflow."""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from contract.display import visible
from inference.errors import SettingsError
from inference.prediction_log.store import Store
from monitoring import mlflow_run, verdict
from monitoring.errors import MonitoringError, NoAnswer, WrongOption
from monitoring.looking.judging import Quality
from monitoring.looking.look import Look, Seen, look
from monitoring.page import html_report
from monitoring.page.html_report import figure, hundredths, moment, number, share
from monitoring.settings import Settings, time_of
from monitoring.sources import log_rows, version
from monitoring.sources.reference import Reference

DRIFT = 6
WIDEST = 32


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Report; return the exit code: 0 no drift, 6 drift, else that of the error."""
    options = _options(arguments)
    try:
        settings = Settings.from_env(environ)
        found = looked(settings, Store.of(environ), options)
    except (MonitoringError, SettingsError) as error:
        print(f"monitor: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 2)
    now = datetime.now(UTC)
    if options.json:
        print(json.dumps(verdict.status(found, now)))
    elif options.html != "-":
        print("\n".join(lines_of(found)))
    page = html_report.report(found)
    if options.html == "-":
        print(page)
    is_written = options.html in (None, "-") or _written(Path(options.html), page)
    if settings.log and not options.no_log:
        _log(settings, found, page, now)
    return WrongOption.exit_code if not is_written else DRIFT if found.drifted else 0


def _written(path: Path, page: str) -> bool:
    try:
        path.write_text(page)
    except OSError as error:
        print(
            f"monitor: --html {path}: {error.strerror}; in a container, `--html - >FILE` writes it outside",
            file=sys.stderr,
        )
        return False
    return True


def looked(settings: Settings, store: Store, options: argparse.Namespace) -> Look:
    """Return a look as the options ask for it; raise MonitoringError."""
    time = _time(settings, options)
    known, reference = version.found(settings, options.version)
    try:
        rows = log_rows.read(store, known.name, known.version, time, reference)
        return look(known, reference, time, rows, options.rows or settings.rows, options.by)
    except MonitoringError as error:
        error.version = known.version
        raise


def log(settings: Settings, found: Look, page: str, now: datetime) -> str:
    """Put a look into MLflow; return the run's id. Raises NoAnswer."""
    whole = json.dumps(verdict.whole(found, now), indent=1).encode()
    report = mlflow_run.Report(
        version=found.version,
        name=f"version {found.version.version}, {verdict.iso(found.time[1])}",
        files={"report.html": page.encode(), "report.json": whole},
        metrics=verdict.metrics(found),
        drifted=bool(found.drifted),
    )
    return mlflow_run.log(settings.service.tracking_uri, report)


def _log(settings: Settings, found: Look, page: str, now: datetime) -> None:
    """Log, and say where; what MLflow does not take changes no verdict."""
    try:
        print(f"in MLflow: run {log(settings, found, page, now)} of {found.version.name} monitoring", file=sys.stderr)
    except NoAnswer as error:
        print(f"monitor: the report is not logged: {error}", file=sys.stderr)


def _time(settings: Settings, options: argparse.Namespace) -> tuple[datetime, datetime]:
    end = _moment("--to", options.to) if options.to else datetime.now(UTC)
    if options.begin is None:
        return end - (time_of("--last", options.last) if options.last else settings.last), end
    if (begin := _moment("--from", options.begin)) >= end:
        raise WrongOption(f"--from {options.begin} is not before --to {verdict.iso(end)}")
    return begin, end


def _moment(option: str, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise WrongOption(f"{option} is {text!r}; expected a time such as 2026-11-25T08:00") from error


def lines_of(found: Look) -> Iterator[str]:
    """Yield a report as text."""
    name = f"{visible(found.version.name, 100)}, version {found.version.version}"
    yield f"{name}: {found.rows.count} rows from {moment(found.time[0])} to {moment(found.time[1])}"
    for lack in found.reference.lacks:
        yield f"  its profile is of an earlier trainer and lacks {lack}"
    if found.omitted:
        yield f"  not kept, so not looked at: {visible(', '.join(found.omitted), 500)}"
    yield f"  {'column':{WIDEST}} missing  beyond unknown  PSI older newer chance     JS      q    moved"
    yield from (_line(seen) for seen in found.columns)
    yield from _quality(found)
    for part in found.parts:
        yield f"  {visible(str(found.by), 30)} = {visible(part.name, 30)}: {part.rows} rows, {_good(part.quality, found.reference)}"
    if found.drifted:
        yield f"drift: {visible(', '.join(found.drifted), 500)}"
    elif found.begun:
        yield f"no drift yet: in the newer window alone {visible(', '.join(found.begun), 500)}; look again when there are more rows, or at a shorter time"
    else:
        yield f"no drift; a shift of {found.smallest_shift:.1f} standard deviations would have been told"


def _line(seen: Seen) -> str:
    name = f"{'!' if seen.drifted else ' '} {visible(seen.column.name, WIDEST):{WIDEST}}"
    shares = f"{share(seen.missing):>7} {share(seen.out_of_range):>7} {share(seen.unknown):>7}"
    if seen.older is None or seen.newer is None:
        return f"{name} {shares}  a date moves on"
    psis = f"{hundredths(seen.older.distance.psi):>9} {hundredths(seen.newer.distance.psi):>5} {hundredths(seen.newer.distance.chance):>6}"
    return f"{name} {shares} {psis} {number(seen.newer.distance.js):>6} {number(seen.newer.q):>8} {number(seen.newer.wasserstein):>6}"


def _good(quality: Quality, reference: Reference) -> str:
    """Say how good the answers to a part of the rows are."""
    if reference.is_classifier:
        return f"accuracy {figure(quality.accuracy)}, estimated {figure(quality.estimated)}"
    return f"{reference.metric} {figure(quality.metric)}"


def _quality(found: Look) -> Iterator[str]:
    quality, reference = found.quality, found.reference
    if not quality.labelled:
        yield "  no labels came for these rows"
    if quality.accuracy is not None:
        yield f"  accuracy of {quality.labelled} rows with labels: {figure(quality.accuracy)}; on the hold-out {number(reference.accuracy)}"
    if quality.metric is not None:
        yield f"  {reference.metric} of {quality.labelled} rows with labels: {figure(quality.metric)}; on the hold-out {number(reference.metric_value)}"
    elif quality.labelled and reference.metric not in (None, "accuracy"):
        yield f"  {reference.metric} is not computed of these rows"
    if quality.estimated is not None:
        yield f"  accuracy, estimated without labels: {figure(quality.estimated)}; blind to a relation that has changed"


def parser() -> argparse.ArgumentParser:
    """Return what reads the options."""
    whole = argparse.ArgumentParser("monitor report", description="Drift and quality of a version (docs/monitoring.md)")
    whole.add_argument("--last", metavar="TIME", help="until now, such as 90m, 24h or 7d; MONITOR_LAST otherwise")
    whole.add_argument(
        "--from", dest="begin", metavar="TIME", help="a time instead, in ISO 8601; UTC where it has no zone"
    )
    whole.add_argument("--to", metavar="TIME", help="until then; now otherwise")
    whole.add_argument("--version", metavar="N", help="of this version; the one behind MODEL_ALIAS otherwise")
    whole.add_argument("--by", metavar="COLUMN", help="quality for each of its values")
    whole.add_argument("--rows", metavar="N", type=int, help="the least of each of two windows; MONITOR_ROWS otherwise")
    whole.add_argument("--html", metavar="FILE", help="write the page there, - is the standard output")
    whole.add_argument("--json", action="store_true", help="the verdict as JSON, instead of text")
    whole.add_argument("--no-log", action="store_true", help="put nothing into MLflow")
    return whole


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    reader = parser()
    options = reader.parse_args(arguments)
    if options.last and options.begin:
        reader.error("--last and --from do not go together")
    if options.rows is not None and not 10 <= options.rows <= 1_000_000:
        reader.error(f"--rows is {options.rows}; expected a whole number from 10 to 1000000")
    return options
