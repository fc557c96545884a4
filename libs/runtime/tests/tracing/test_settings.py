"""Settings by our names and by OpenTelemetry's."""

import pytest

from millrace_runtime.settings import SettingsError, report_unknown
from millrace_runtime.tracing import TracingSettings

ENDPOINT = "http://collector:4317"


def test_everything_is_off_by_itself() -> None:
    assert not TracingSettings.load().exports


@pytest.mark.parametrize(
    ("environment", "field", "value"),
    [
        ({"MILLRACE_OTLP_ENDPOINT": ENDPOINT}, "otlp_endpoint", ENDPOINT),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": f"{ENDPOINT}/"}, "otlp_endpoint", ENDPOINT),
        (
            {"MILLRACE_OTLP_ENDPOINT": "https://[::1]:4317", "OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINT},
            "otlp_endpoint",
            "https://[::1]:4317",
        ),
        (
            {"MILLRACE_OTLP_ENDPOINT": "", "OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINT},
            "otlp_endpoint",
            ENDPOINT,
        ),
        ({"MILLRACE_OTLP_ENDPOINT": ""}, "exports", False),
        ({"MILLRACE_TRACE_SAMPLE_RATIO": "0.5"}, "trace_sample_ratio", 0.5),
        ({"OTEL_TRACES_SAMPLER_ARG": "0.125"}, "trace_sample_ratio", 0.125),
        ({}, "trace_sample_ratio", 0.01),
        ({"OTEL_SERVICE_NAME": "chat"}, "otlp_service_name", "chat"),
        ({"MILLRACE_OTLP_ENDPOINT": ENDPOINT, "OTEL_SDK_DISABLED": "true"}, "exports", False),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "exports", False),
        (
            {"MILLRACE_OTLP_ENDPOINT": ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "exports",
            True,
        ),
    ],
)
def test_a_setting_has_two_names(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], field: str, value: object
) -> None:
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    assert getattr(TracingSettings.load(), field) == value


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({"MILLRACE_OTLP_ENDPOINT": "collector:4317"}, "MILLRACE_OTLP_ENDPOINT"),
        ({"MILLRACE_OTLP_ENDPOINT": "http://user:hunter2@collector:4317"}, "MILLRACE_OTLP_ENDPOINT"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/v1/traces"}, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://[::1"}, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ({"MILLRACE_TRACE_SAMPLE_RATIO": "1.5"}, "MILLRACE_TRACE_SAMPLE_RATIO"),
        ({"OTEL_TRACES_SAMPLER_ARG": "often"}, "OTEL_TRACES_SAMPLER_ARG"),
        ({"MILLRACE_TRACE_CALLERS_PER_S": "-1"}, "MILLRACE_TRACE_CALLERS_PER_S"),
        ({"MILLRACE_OTLP_METRICS_INTERVAL_S": "0"}, "MILLRACE_OTLP_METRICS_INTERVAL_S"),
        (
            {"MILLRACE_OTLP_ENDPOINT": ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
            "OTEL_EXPORTER_OTLP_PROTOCOL",
        ),
    ],
)
def test_a_wrong_value_is_an_error_that_names_the_variable_and_not_the_value(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], names: str
) -> None:
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    with pytest.raises(SettingsError, match=names) as caught:
        TracingSettings.load()
    assert "hunter2" not in str(caught.value)


def test_other_processes_find_the_names_without_a_word() -> None:
    environment = dict.fromkeys((n for n in TracingSettings.names() if n.startswith("MILLRACE_")), "x")
    assert len(environment) == 4
    assert report_unknown(environment, []) == []
