"""What holds for every pod, whatever else its manifest says."""

from typing import Any

from tests.layout.conftest import Overlay, management_port

from millrace_runtime.service import GRACE_S

LEARNT_WITHIN_S = 5
"""Time for the nodes of a cluster to learn that a pod takes no more requests."""


def test_no_process_is_root_or_can_become_it(overlay: Overlay) -> None:
    for workload in overlay.workloads():
        pod = workload.pod["securityContext"]
        assert pod["runAsNonRoot"], workload.name
        assert pod["runAsUser"] > 0, workload.name
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}, workload.name
        for container in workload.containers():
            rights = container["securityContext"]
            assert rights["allowPrivilegeEscalation"] is False, (workload.name, container["name"])
            assert rights["capabilities"] == {"drop": ["ALL"]}, (workload.name, container["name"])


def test_no_process_writes_to_its_image(overlay: Overlay) -> None:
    if overlay.name == "dev":
        return  # its code is changed below it, on purpose
    for workload, container in overlay.own_containers():
        assert container["securityContext"]["readOnlyRootFilesystem"], (workload.name, container["name"])


def test_only_the_job_of_the_first_keys_may_call_the_cluster(overlay: Overlay) -> None:
    callers = {w.name for w in overlay.workloads() if w.pod.get("automountServiceAccountToken", True)}
    assert callers <= {"first-keys"}


def test_a_pod_has_longer_to_end_than_it_takes(overlay: Overlay) -> None:
    for workload, container in overlay.own_containers():
        if not workload.ends:
            assert workload.pod["terminationGracePeriodSeconds"] > _drain_s(container) + GRACE_S, (
                workload.name
            )


def test_what_a_service_sends_requests_to_goes_on_serving_before_it_stops(overlay: Overlay) -> None:
    """A pod gets SIGTERM while others still send it requests: they learn of its end by and by."""
    served = {
        service["spec"]["selector"]["app.kubernetes.io/name"]
        for service in overlay.of("Service")
        if service["spec"].get("clusterIP") != "None"
    }
    names = [container["name"] for _, container in overlay.own_containers()]
    assert served & set(names) == {"webhook", "id-service", "query-service", "auth-service"}
    for _, container in overlay.own_containers():
        if container["name"] in served:
            assert _drain_s(container) >= LEARNT_WITHIN_S, container["name"]


def test_every_process_is_probed_on_its_management_port_and_has_limits(overlay: Overlay) -> None:
    for workload, container in overlay.own_containers():
        assert "memory" in container["resources"]["limits"], container["name"]
        assert {"cpu", "memory"} <= set(container["resources"]["requests"]), container["name"]
        if workload.ends:
            continue
        assert container["livenessProbe"]["httpGet"]["path"] == "/live", container["name"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        probed = ports[container["livenessProbe"]["httpGet"]["port"]]
        assert probed == management_port(container["name"]), container["name"]
        if container["name"] != "relay":
            assert container["readinessProbe"]["httpGet"]["path"] == "/ready", container["name"]


def test_the_door_does_not_depend_on_its_relay(overlay: Overlay) -> None:
    """The relay's health must not take the door out of its Service: Kafka may be away."""
    (door,) = (workload for workload in overlay.workloads() if workload.name == "webhook")
    (relay,) = (container for container in door.pod["initContainers"] if container["name"] == "relay")
    assert relay["restartPolicy"] == "Always"
    assert relay["command"][0] == "keep-running"
    assert "readinessProbe" not in relay
    assert "startupProbe" not in relay


def test_every_workload_of_several_has_a_disruption_budget(overlay: Overlay) -> None:
    budgets = {budget["metadata"]["name"] for budget in overlay.of("PodDisruptionBudget")}
    own = {workload.name for workload, _ in overlay.own_containers() if not workload.ends}
    assert budgets == own


def test_every_reference_to_a_setting_finds_it(overlay: Overlay) -> None:
    """ConfigMaps are all in the overlay; a Secret is, or is one that its component says is made elsewhere."""
    held = {
        (kind, thing["metadata"]["name"]): set(thing.get("data") or ()) | set(thing.get("stringData") or ())
        for kind in ("ConfigMap", "Secret")
        for thing in overlay.of(kind)
    }
    elsewhere = {"kafka", "postgresql", "etcd", "tls"} if overlay.name in ("staging", "production") else set()
    for workload, container in overlay.own_containers():
        for variable in container.get("env", ()):
            for kind, reference in _references(variable):
                if kind == "Secret" and reference["name"] in elsewhere:
                    continue
                assert reference["key"] in held[kind, reference["name"]], (workload.name, variable["name"])


def _drain_s(container: dict[str, Any]) -> float:
    """Seconds for which the process goes on serving after SIGTERM."""
    values = [item["value"] for item in container["env"] if item["name"] == "MILLRACE_DRAIN_S"]
    return float(values[0]) if values else 0


def _references(variable: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    source = variable.get("valueFrom", {})
    pairs = (("ConfigMap", source.get("configMapKeyRef")), ("Secret", source.get("secretKeyRef")))
    return [(kind, reference) for kind, reference in pairs if reference]
