"""What Prometheus is told, summed up for people: of all processes together, since they began."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.samples import Sample

from inference.request.routing import EXPLAIN, INFER, INVOCATIONS, PREDICT_NAMES

PREDICTING = frozenset({INVOCATIONS, PREDICT_NAMES, INFER, EXPLAIN})


def figures_of_all() -> dict[str, Any]:
    """Return the figures of all processes of the service."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return figures(registry.collect())


def figures(families: Iterable[Metric]) -> dict[str, Any]:
    """Return requests, errors, latencies and what else there is to tell; what looks on is no request."""
    samples = defaultdict(list)
    for family in families:
        for sample in family.samples:
            samples[sample.name].append(sample)
    return {
        "requests": _by(filter(_predicts, samples["inference_requests_total"]), "status"),
        "errors": _by(filter(_predicts, samples["inference_errors_total"]), "kind"),
        "rows": _by(samples["inference_rows_total"], "version"),
        # As in Prometheus: how many took at most so many seconds.
        "seconds": _by(filter(_predicts, samples["inference_request_seconds_bucket"]), "le"),
        "in_flight": _sum(samples["inference_requests_in_flight"]),
        "waiting": _sum(samples["inference_queue"]),
        "swaps": _sum(samples["inference_swaps_total"]),
        "refused_versions": _by(samples["inference_swaps_refused_total"], "version"),
        "prediction_log_dropped": _by(samples["inference_prediction_log_dropped_total"], "reason"),
        "labels": _by(samples["inference_labels_total"], "kind"),
        "challenger": _by(samples["inference_challenger_rows_total"], "result"),
        "shadow": _by(samples["inference_shadow_rows_total"], "result"),
        "shadow_milliseconds": _means(samples, "inference_shadow_seconds"),
    }


def _predicts(sample: Sample) -> bool:
    return sample.labels["endpoint"] in PREDICTING


def _by(samples: Iterable[Sample], label: str) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for sample in samples:
        found[sample.labels[label]] += int(sample.value)
    return dict(found)


def _means(samples: Mapping[str, list[Sample]], name: str) -> dict[str, float]:
    """Return the mean of a histogram of seconds, in milliseconds, by version."""
    sums, counts = ({one.labels["version"]: one.value for one in samples[f"{name}_{of}"]} for of in ("sum", "count"))
    return {version: round(sums[version] / count * 1000, 3) for version, count in counts.items() if count}


def _sum(samples: Iterable[Sample]) -> int:
    return int(sum(sample.value for sample in samples))
