"""What the service measures."""

from millrace_runtime.metrics import Metric, MetricTable

WORKSPACES_CREATED = "millrace_auth_workspaces_created"
KEYS_CREATED = "millrace_auth_keys_created"
KEYS_REVOKED = "millrace_auth_keys_revoked"
KEY_CHECKS = "millrace_auth_key_checks"

TABLE = MetricTable(
    Metric(WORKSPACES_CREATED, "counter", "workspaces", "Workspaces created since the start"),
    Metric(KEYS_CREATED, "counter", "keys", "API keys created since the start"),
    Metric(KEYS_REVOKED, "counter", "keys", "API keys revoked since the start"),
    Metric(KEY_CHECKS, "counter", "calls", "CheckKey calls, `ok` or the name of the refusal", ("result",)),
)
