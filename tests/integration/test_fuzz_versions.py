"""A fuzzer against what verifies and loads a version: no changed file is taken for a signed one, and none ends a process.

`make fuzz` tries 10,000 folders; a test run tries a few hundred of the same.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from contract import signature

from tests.fuzzing import TIMES
from tests.integration.conftest import Training
from tests.integration.hostile_versions import ID, NAME
from tests.integration.places import MODEL, ROOT, keys

pytestmark = pytest.mark.fuzz

COUNT = 400 * TIMES
AT_ONCE = 2


@pytest.fixture(scope="module")
def good(first: Training, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The files of two trained versions: one that its ONNX model answers, and a forest that scikit-learn does."""
    place = first.place.copy(tmp_path_factory.mktemp("versions") / "place")
    trained = place.command("train", "--dataset", "wine", "--algorithm", "random_forest", "--param", "n_estimators=5")
    assert trained.returncode == 0, trained.stderr
    iris, wine = (tmp_path_factory.mktemp(name) / "version" for name in ("iris", "wine"))
    for name, folder in ((MODEL, iris), ("wine_random_forest", wine)):
        shutil.copytree(place.client.get_model_version_download_uri(name, "1").removeprefix("file://"), folder)
    for onnx in ("model.onnx", "onnx_engine.json"):
        (wine / onnx).unlink()
    for folder in (iris, wine):
        signature.sign(folder, NAME, ID, Path(keys()["SIGNING_KEY_FILE"]))
    return [iris, wine]


def test_no_changed_version_is_taken_for_a_signed_one_or_ends_what_loads_it(good: list[Path]) -> None:
    command = [sys.executable, "-m", "tests.integration.hostile_versions", str(Path(keys()["SIGNING_KEY_FILE"]).parent)]
    environ = os.environ | {"PYTHONPATH": f"{ROOT / 'services'}:{ROOT}"}
    running = [
        subprocess.Popen(
            [*command, str(seed), str(COUNT // AT_ONCE), *map(str, good)],
            env=environ,
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for seed in range(AT_ONCE)
    ]
    told = [process.communicate() for process in running]
    for process, (out, err) in zip(running, told, strict=True):
        assert process.returncode == 0, f"{out[-500:]}\n{err[-3000:]}"
    seen = [json.loads(out.splitlines()[-1]) for out, _ in told]
    found = {what: sum(each.get(what, 0) for each in seen) for each in seen for what in each}
    print("what became of them:", found)
    assert sum(found.values()) == COUNT // AT_ONCE * AT_ONCE
    # Each way is really gone.
    assert {"refused by its signature", "refused when it was loaded", "loaded"} <= found.keys()
