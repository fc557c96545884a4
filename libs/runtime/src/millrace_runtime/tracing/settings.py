"""Settings of traces and metrics, by our names and by those that OpenTelemetry gives them."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, AliasChoices, Field, ValidationInfo, field_validator

from millrace_runtime.settings import Settings


def _endpoint(text: str) -> str:
    try:
        url = urlsplit(text)
        usable = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:
        usable = False
    if not usable or url.username is not None or url.path.strip("/") or url.query:
        raise ValueError("must be http://host:port or, for TLS, https://host:port")
    return f"{url.scheme}://{url.netloc}"


class TracingSettings(Settings):
    """Settings of a process that can be traced.

    The exporter itself reads OTEL_EXPORTER_OTLP_HEADERS, _CERTIFICATE, _TIMEOUT and OTEL_RESOURCE_ATTRIBUTES.
    """

    otlp_endpoint: Annotated[str, AfterValidator(_endpoint)] | None = Field(
        default=None,
        validation_alias=AliasChoices("MILLRACE_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        description="http(s)://host:port of the gRPC of an OTLP receiver; sends traces and metrics there",
    )
    trace_sample_ratio: float = Field(
        default=0.01,
        ge=0,
        le=1,
        validation_alias=AliasChoices("MILLRACE_TRACE_SAMPLE_RATIO", "OTEL_TRACES_SAMPLER_ARG"),
        description="share of the requests without a traceparent that are traced, 0 to 1",
    )
    trace_callers_per_s: float = Field(
        default=100,
        ge=0,
        validation_alias="MILLRACE_TRACE_CALLERS_PER_S",
        description="traces a second that callers may turn on by a traceparent; beyond it, the ratio",
    )
    otlp_metrics_interval_s: float = Field(
        default=15,
        gt=0,
        validation_alias="MILLRACE_OTLP_METRICS_INTERVAL_S",
        description="seconds between two times that the metrics are sent",
    )
    otlp_service_name: str | None = Field(
        default=None,
        validation_alias="OTEL_SERVICE_NAME",
        description="name in traces and metrics, instead of the service's own",
    )
    otlp_disabled: bool = Field(
        default=False,
        validation_alias="OTEL_SDK_DISABLED",
        description="true sends nothing, whatever the endpoint",
    )
    otlp_protocol: str = Field(
        default="grpc",
        validation_alias="OTEL_EXPORTER_OTLP_PROTOCOL",
        description="only grpc can be used",
    )

    @field_validator("otlp_protocol")
    @classmethod
    def _grpc_is_spoken(cls, value: str, others: ValidationInfo) -> str:
        exports = others.data.get("otlp_endpoint") is not None and not others.data.get("otlp_disabled")
        if exports and value != "grpc":
            raise ValueError("must be grpc, and the endpoint the receiver's port for it, as a rule 4317")
        return value

    @property
    def exports(self) -> bool:
        """Whether anything is sent at all."""
        return self.otlp_endpoint is not None and not self.otlp_disabled
