"""One setting, or two, say under which names the services are reached: links, allowed hosts and origins follow."""

import subprocess
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from contract.publishing.addresses import addresses, check
from inference.settings import OWN_NAMES
from inference.settings import Settings as InferenceSettings
from setup import __main__ as setup_program
from trainer.settings import Settings as TrainerSettings

SERVICES = Path(__file__).parents[2] / "services"
# As compose.yaml puts them together: with PUBLIC_URL or without, one name or several.
ONE = " http://localhost:5000"
LIST = " http://models.example.com, 10.0.0.5 ,[fd00::1]:5000"
PROXY = "https://*.example.com http://office.lan:5000"
EDGE = " https://*.example.com,office.lan:8443 http://example.com,office.lan:5000"


class NotSet(Exception):
    """What a value that cannot be used is told with."""


def _urls(value: str, service: str = "mlflow") -> list[str]:
    return [address.url for address in addresses("MLFLOW_PUBLIC_URL", value, service, NotSet)]


def test_a_list_of_names_is_an_address_for_each() -> None:
    assert _urls(ONE) == ["http://localhost:5000"]
    assert _urls(LIST) == ["http://models.example.com:5000", "http://10.0.0.5:5000", "http://[fd00::1]:5000"]
    assert _urls(" http://a.example,:5000") == ["http://a.example:5000"]


def test_behind_a_proxy_each_service_has_a_name_of_its_own() -> None:
    assert _urls(PROXY) == ["https://mlflow.example.com", "http://office.lan:5000"]
    assert _urls(PROXY, "models") == ["https://models.example.com", "http://office.lan:5000"]
    assert _urls(EDGE)[:2] == ["https://mlflow.example.com:8443", "https://mlflow.office.lan:8443"]


def test_the_port_that_the_scheme_has_anyway_is_left_out_as_clients_leave_it_out_of_host() -> None:
    (https, http) = addresses("X", "https://A.example:443/ http://a.example:80/path/", "mlflow", NotSet)
    assert (https.url, https.netloc, https.host) == ("https://a.example", "a.example", "a.example")
    assert (http.url, http.origin) == ("http://a.example/path", "http://a.example")


@pytest.mark.parametrize(
    "value", ["a.example:5000", "ftp://a", "http://http://a:5000", "http://a b:5000", "http://:5000"]
)
def test_an_address_that_is_none_is_named_with_where_it_comes_from(value: str) -> None:
    with pytest.raises(NotSet, match=r"^MLFLOW_PUBLIC_URL has '.*'; expected .* PUBLIC_URL and PUBLIC_HOST$"):
        _urls(value)


# --- what the set-up says of the two settings -------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["http://a.example", "a.example:80", "*.example", "a b", "a,münchen.example", "a/b"])
def test_a_public_host_that_is_no_name_is_named_with_what_is_expected(host: str) -> None:
    with pytest.raises(NotSet, match=r"^PUBLIC_HOST has '.*'; expected names without scheme and port, separated by "):
        check({"PUBLIC_HOST": host}, NotSet)


@pytest.mark.parametrize(
    "url", ["https://example.com", "*.example.com", "https://*.a,b.example", "https://*.example.com/path", "https://*"]
)
def test_a_public_url_without_a_place_for_the_services_name_is_named_with_what_is_expected(url: str) -> None:
    with pytest.raises(NotSet, match=r"^PUBLIC_URL is '.*'; expected https://\*\.example\.com, in which \* stands for"):
        check({"PUBLIC_URL": url}, NotSet)


@pytest.mark.parametrize(
    ("used", "nearest"),
    [
        ({}, {"PUBLIC_HOST": "*"}),
        ({"PUBLIC_HOST": "localhost", "PUBLIC_URL": ""}, {"PUBLIC_HOST": "local host", "PUBLIC_URL": ""}),
        ({"PUBLIC_HOST": "a.example, 10.0.0.5,[fd00::1],"}, {"PUBLIC_HOST": "a.example, 10.0.0.5,fd00::1,"}),
        ({"PUBLIC_URL": "https://*.example.com:8443/"}, {"PUBLIC_URL": "https://*.example.com:8443/a"}),
    ],
)
def test_what_can_be_used_is_taken_and_what_is_nearest_to_it_is_not(
    used: dict[str, str], nearest: dict[str, str]
) -> None:
    check(used, NotSet)
    with pytest.raises(NotSet):
        check(nearest, NotSet)


def test_the_set_up_ends_with_that_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PUBLIC_HOST", "https://example.com")
    assert setup_program.main(["secrets"]) == 1
    assert capsys.readouterr().err.startswith("secrets: PUBLIC_HOST has 'https://example.com'; expected names without")


# --- who follows ------------------------------------------------------------------------------------------------------


def test_the_trainers_links_have_the_first_address() -> None:
    assert TrainerSettings.from_env({"MLFLOW_PUBLIC_URL": LIST}).public_url == "http://models.example.com:5000"
    assert TrainerSettings.from_env({"MLFLOW_PUBLIC_URL": PROXY}).public_url == "https://mlflow.example.com"


@pytest.mark.parametrize(
    ("tracking_uri", "url"),
    [
        ("https://mlflow.example.com/", "https://mlflow.example.com"),
        ("sqlite:///mlflow.db", None),
    ],
)
def test_without_one_links_have_the_address_of_the_server(tracking_uri: str, url: str | None) -> None:
    assert TrainerSettings.from_env({"MLFLOW_TRACKING_URI": tracking_uri}).public_url == url


def test_the_prediction_service_answers_to_all_names_and_shows_the_first() -> None:
    found = InferenceSettings.from_env({"INFERENCE_PUBLIC_URL": EDGE, "MLFLOW_PUBLIC_URL": EDGE})
    assert found.public_url == "https://models.example.com:8443"
    assert found.mlflow_public_url == "https://mlflow.example.com:8443"
    expected = {"models.example.com", "models.office.lan", "example.com", "office.lan"}
    assert found.allowed_hosts == OWN_NAMES | expected


@pytest.fixture(scope="module")
def published() -> ModuleType:
    spec = spec_from_file_location("published", SERVICES / "mlflow" / "published.py")
    module = module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)
    return module


def test_mlflow_answers_to_all_names_with_their_ports_and_takes_changes_from_their_pages_and_by_https_from_none_of_http(
    published: ModuleType,
) -> None:
    told = published.names({"MLFLOW_SERVER_ALLOWED_HOSTS": "mlflow:5000,localhost:*", "MLFLOW_PUBLIC_URL": EDGE})
    assert told["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",") == [
        "mlflow:5000", "localhost:*", "mlflow.example.com", "mlflow.example.com:8443", "mlflow.office.lan",
        "mlflow.office.lan:8443", "example.com", "example.com:5000", "office.lan", "office.lan:5000",
    ]  # fmt: skip
    assert told["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"].split(",") == [
        "https://mlflow.example.com:8443", "https://mlflow.example.com", "https://mlflow.office.lan:8443",
        "https://mlflow.office.lan", "http://example.com:5000", "http://example.com", "https://example.com",
        "http://office.lan:5000", "http://office.lan", "https://office.lan",
    ]  # fmt: skip


def test_mlflow_does_not_start_with_an_address_that_is_none(published: ModuleType) -> None:
    with pytest.raises(published.SettingsError, match=r"^MLFLOW_PUBLIC_URL has 'http://http://a:5000'; expected"):
        published.names({"MLFLOW_PUBLIC_URL": " http://http://a:5000"})


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        (
            {"MLFLOW_SERVER_ALLOWED_HOSTS": "mlflow:5000", "MLFLOW_PUBLIC_URL": "http://localhost:5000"},
            'mlflow: settings: {"MLFLOW_SERVER_ALLOWED_HOSTS": "mlflow:5000,localhost,localhost:5000", '
            '"MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": "http://localhost:5000,http://localhost,https://localhost"}\n',
        ),
        ({}, ""),
    ],
)
def test_mlflow_s_log_begins_with_the_names_that_it_answers_to_where_it_is_published(
    published: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environ: dict[str, str],
    said: str,
) -> None:
    monkeypatch.setattr(published.os, "environ", environ)
    monkeypatch.setattr(published, "serve", lambda _: None)
    published.main(["mlflow", "server"])
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    "value", [ONE, LIST, PROXY, EDGE, " http://a.example,b.example:9001", "https://*.a,b:443 http://a"]
)
def test_minios_console_makes_its_links_of_the_first_address_too(value: str) -> None:
    say = ["bash", "-c", 'echo "$MINIO_BROWSER_REDIRECT_URL"']
    command = ["bash", str(SERVICES / "minio" / "start.sh"), *say]
    said = subprocess.run(command, env={"MINIO_PUBLIC_URL": value}, capture_output=True, text=True, check=True).stdout
    assert said == _urls(value, "minio")[0] + "\n"
