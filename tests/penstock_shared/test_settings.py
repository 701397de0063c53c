"""A bad setting ends the start with one clear line."""

import pytest
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from penstock_shared.settings import ServiceSettings, load_settings


class _Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="PENSTOCK_DEMO_")
    num_slots: int = Field(4, ge=1)


def test_common_and_own_fields_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The common ones have one name for all services."""
    monkeypatch.setenv("PENSTOCK_LOG_LEVEL", "debug")
    monkeypatch.setenv("PENSTOCK_DEMO_NUM_SLOTS", "7")
    settings = load_settings(_Settings)
    assert (settings.log_level, settings.num_slots) == ("debug", 7)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("PENSTOCK_DEMO_NUM_SLOTS", "0"), ("PENSTOCK_LOG_LEVEL", "loud"), ("PENSTOCK_OTLP_ENDPOINT", "not a url")],
)
def test_a_bad_value_is_named_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str
) -> None:
    """The operator mends it without reading code."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as exit_info:
        load_settings(_Settings)
    assert exit_info.value.code == 1
    line = capsys.readouterr().err
    assert line.startswith(f"error: {variable}: got '{value}'")
    assert line.count("\n") == 1
