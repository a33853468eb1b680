"""Settings from environment variables and command-line flags."""

from __future__ import annotations

import pytest

from service.settings.fields import Settings
from service.settings.reading import SettingsError, read_settings, variables


def test_variables_and_flags_set_the_same_things_and_flags_win() -> None:
    settings, warnings = read_settings(
        {"CONTRAFLOW_HTTP_PORT": "9000", "CONTRAFLOW_MAX_IMAGES": "3", "HOME": "/"}, ["--max-images", "5"]
    )
    assert (settings.http_port, settings.max_images, warnings) == (9000, 5, [])


def test_an_unknown_variable_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(SettingsError, match=r"CONTRAFLOW_MODEL; known are .*CONTRAFLOW_DEFAULT_MODEL"):
        read_settings({"CONTRAFLOW_MODEL": "x"})


def test_the_nearest_variable_is_named_first() -> None:
    with pytest.raises(SettingsError, match="CONTRAFLOW_API_KEY; known are CONTRAFLOW_API_KEYS,"):
        read_settings({"CONTRAFLOW_API_KEY": "x"})


@pytest.mark.parametrize(
    "variable",
    [
        "CONTRAFLOW_PORT",
        "CONTRAFLOW_SERVICE_HOST",
        "CONTRAFLOW_SERVICE_PORT",
        "CONTRAFLOW_SERVICE_PORT_HTTP",
        "CONTRAFLOW_PORT_8000_TCP",
        "CONTRAFLOW_PORT_8000_TCP_ADDR",
        "CONTRAFLOW_METRICS_SERVICE_HOST",
        "CONTRAFLOW_METRICS_PORT",
        "CONTRAFLOW_METRICS_PORT_9090_TCP_PROTO",
    ],
)
def test_kubernetes_service_links_are_ignored_with_a_warning(variable: str) -> None:
    settings, warnings = read_settings({variable: "tcp://10.0.0.1:8000"})
    assert settings == Settings()
    assert len(warnings) == 1
    assert variable in warnings[0]


def test_a_service_called_contraflow_http_does_not_set_the_port() -> None:
    assert "CONTRAFLOW_PORT" not in variables()
    settings, warnings = read_settings({"CONTRAFLOW_HTTP_PORT": "tcp://10.0.0.1:8000"})
    assert settings.http_port == Settings().http_port
    assert len(warnings) == 1


def test_a_value_that_makes_no_sense_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="max_images"):
        read_settings({"CONTRAFLOW_MAX_IMAGES": "many"})
    with pytest.raises(SettingsError, match="api_keys"):
        read_settings({"CONTRAFLOW_API_KEYS": "a-key-in-clear"})


def test_every_setting_says_what_it_means() -> None:
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--shadow", "pets"], "'pets' is not name@version"),
        (["--shadow-share", "0.5"], "shadow_share .* is about the shadow: it needs shadow "),
        (["--shadow-gradients", "0"], "shadow_gradients .* it needs shadow "),
        (["--shadow", "pets@2", "--shadow-share", "2"], "less than or equal to 1"),
        (["--shadow", "pets@2", "--default-model", "pets@2"], "shadow .* and default_model .* are both pets@2"),
        (["--capture-share", "0.5"], "capture_share .* is about what is captured: it needs capture "),
    ],
)
def test_settings_of_the_shadow_that_contradict_each_other_are_refused(flags: list[str], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        read_settings({}, flags)


def test_a_shadow_is_set_by_flag_or_variable_and_an_empty_one_is_none() -> None:
    settings, _ = read_settings({"CONTRAFLOW_SHADOW": "pets@2"}, ["--default-model", "pets"])
    assert (settings.shadow, settings.shadow_share) == ("pets@2", 0.05)
    assert read_settings({"CONTRAFLOW_SHADOW": ""})[0].shadow is None
