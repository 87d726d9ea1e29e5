"""What comes back from the sandbox is a stranger's word until its shape is checked."""

import pytest
from contract.errors import Refused
from trainer import adoption
from trainer.adoption import MADE, Checked
from trainer.sandbox import Unconfined
from trainer.settings import Settings

FILES = ["MLmodel", "model.skops", "input_example.json", "registered_model_meta", *MADE]
ANSWER = {
    "estimator": "model.skops",
    "example": "input_example.json",
    "sha256": {"model.skops": "00", "input_example.json": "11", "evil.py": "22"},
    "mlmodel": {"flavors": {}},
    "golden": {"instances": []},
}


def test_an_answer_names_two_files_with_their_digests_and_no_more():
    assert Checked.of(ANSWER, FILES).sha256 == {"model.skops": "00", "input_example.json": "11"}


@pytest.mark.parametrize(
    "change",
    [
        *({"mlmodel": None}, {"mlmodel": [1]}, {"golden": "text"}, {"golden": 3}, {"sha256": {}}, {"sha256": None}),
        *({"estimator": "../signing-key.pem"}, {"estimator": None}, {"example": ["input_example.json"]}),
    ],
)
def test_an_answer_of_another_shape_is_refused(change):
    with pytest.raises(Refused, match=r"the check gave no answer that can be used|is not one of its own"):
        Checked.of(ANSWER | change, FILES)


@pytest.mark.parametrize("answer", [None, [], "text", 3])
def test_what_is_no_answer_is_refused(answer):
    with pytest.raises(Refused, match="the check gave no answer that can be used"):
        Checked.of(answer, FILES)


@pytest.mark.parametrize("name", ["golden.json", "conda.yaml", "registered_model_meta", "MLmodel"])
def test_an_estimator_or_an_example_under_the_name_of_another_file_is_refused(name):
    for part in ("estimator", "example"):
        answer = ANSWER | {part: name, "sha256": ANSWER["sha256"] | {name: "33"}}
        with pytest.raises(Refused, match=f"is called {name}, which is another file's name"):
            Checked.of(answer, FILES)


def test_a_models_word_that_there_is_no_sandbox_is_not_taken_for_the_systems(tmp_path, monkeypatch):
    called = []

    def run(function, *_arguments, **_options):
        called.append(function)
        if function == "trainer.examination:examined":
            raise Unconfined("adopt it --unconfined, it is harmless")

    monkeypatch.setattr(adoption.sandbox, "run", run)
    with pytest.raises(Refused, match="the check did not go on as it began"):
        adoption._examined(tmp_path, Settings(), "3", confined=True)
    assert called == ["trainer.sandbox:nothing", "trainer.examination:examined"]
