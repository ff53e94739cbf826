"""Everything in deploy/ fits the code: names of figures, options of commands, mounted files, ports."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from fake_broker.__main__ import main as fake_broker
from harness.cli import cli
from harness.core.figures import FIGURES
from harness.reference.__main__ import main as reference_service
from tests.deploy.installed import ROOT

DEPLOY = ROOT / "deploy"
DASHBOARD = DEPLOY / "grafana" / "harness.json"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
KUBERNETES = sorted(DEPLOY.glob("kubernetes/*.yaml"))
NAMES = {figure.prometheus: figure for figure in FIGURES.values()}
OF_SCRAPES = {"job", "instance", "__name__"}
OPTIONS = """
import sys
import gevent.monkey
gevent.monkey.patch_all()
from locust.argument_parser import parse_options
import harness.swarm.user, harness.swarm.web
print(parse_options(sys.argv[1:]).host)
"""


# The dashboard


def queries(dashboard: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(panel, expression, legend) of everything that asks Prometheus."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"], target["legendFormat"]
    for one in dashboard["annotations"]["list"]:
        yield one["name"], one["expr"], ""
    for one in dashboard["templating"]["list"]:
        if one["type"] == "query":
            yield one["name"], one["query"]["query"], ""


def unknown_metrics(dashboard: dict[str, Any]) -> list[str]:
    """Names and labels in the queries that no run publishes."""
    found = []
    for title, expression, legend in queries(dashboard):
        names = re.findall(r"\bharness_\w+", expression)
        if not names:
            found.append(f"{title}: no figure in {expression}")
        found += [f"{title}: {name}" for name in names if name not in NAMES]
        known = OF_SCRAPES.union(*(NAMES[name].labels for name in names if name in NAMES))
        used = re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", expression) + re.findall(r"{{(\w+)}}", legend)
        found += [f"{title}: label {label} in {expression} {legend}" for label in used if label not in known]
        for counter in (name for name in names if name.endswith("_total")):
            if (
                not re.search(rf"\b(rate|increase|changes)\({counter}\b", expression)
                and counter != "harness_cycles_total"
            ):
                found.append(f"{title}: {counter} is a counter; its value alone says nothing")
    return found


def test_the_dashboard_queries_only_metrics_that_a_run_publishes() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    assert len(list(queries(dashboard))) > 20
    assert unknown_metrics(dashboard) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("harness_growth_low{", "harness_growth_lower{", "harness_growth_lower"),
        ("harness_fds{", "harness_fds{class!~'',", "label class"),
        ("{{cause}}", "{{reason}}", "label reason"),
        ("rate(harness_events_total", "avg(harness_events_total", "is a counter"),
    ],
)
def test_a_wrong_metric_name_is_found(old: str, new: str, message: str) -> None:
    text = DASHBOARD.read_text()
    assert old in text
    assert any(message in one for one in unknown_metrics(json.loads(text.replace(old, new))))


def test_the_dashboard_shows_levels_rates_with_intervals_and_the_verdict() -> None:
    shown = " ".join(expression for _, expression, _ in queries(json.loads(DASHBOARD.read_text())))
    for name in ("harness_level", "harness_growth", "harness_growth_low", "harness_growth_high",
                 "harness_growth_at_most", "harness_verdict", "harness_exit_code", "harness_workers"):  # fmt: skip
        assert f"{name}{{" in shown


def test_grafana_is_provisioned_with_this_dashboard_and_its_data_source() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "harness.yaml").read_text())["providers"]
    variable = next(one for one in dashboard["templating"]["list"] if one["type"] == "datasource")
    assert variable["current"]["value"] == source["uid"]
    assert source["url"] == "http://prometheus:9090"
    mounted = {
        target: source_path
        for source_path, target, *_ in (one.split(":") for one in COMPOSE["services"]["grafana"]["volumes"])
    }
    folder = provider["options"]["path"]
    assert mounted[f"{folder}/harness.json"] == "./grafana/harness.json"
    assert mounted["/etc/grafana/provisioning"] == "./grafana/provisioning"
    identities = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(identities)) == len(identities)
    assert all(
        panel["datasource"]["uid"] == "${datasource}"
        for panel in dashboard["panels"]
        if panel["type"] != "row"
    )


# Commands


def check(command: click.Command, arguments: list[str]) -> click.Context:
    """Parse as the command line does, without running anything. Raises click.UsageError."""
    return command.make_context(command.name or "", list(arguments))


def check_harness(arguments: list[str]) -> dict[str, Any]:
    """Of ``harness``: the name of a command and its arguments. Returns the parameters."""
    name, *rest = arguments
    command = cli.get_command(click.Context(cli), name)
    assert command is not None, name
    return check(command, rest).params


def check_locust(arguments: list[str]) -> None:
    """Locust's own parser, with the options that our locustfiles add."""
    file = next(one.partition("=")[2] for one in arguments if one.startswith("--locustfile="))
    assert (ROOT / "locustfiles" / Path(file).name).is_file()
    done = subprocess.run(
        [sys.executable, "-c", OPTIONS, *arguments], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_an_option_that_does_not_exist_is_found() -> None:
    with pytest.raises(click.NoSuchOption):
        check_harness(["soak", "--duration=1h", "--url=http://h/", "--no-such-option=1"])
    with pytest.raises(AssertionError, match="unrecognized arguments: --no-such-option"):
        check_locust(["--locustfile=dashboard.py", "--host=http://h", "--no-such-option"])


# Compose


def resolved(text: str) -> str:
    """``${NAME:-default}`` as its default."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def test_commands_of_the_compose_file() -> None:
    services = COMPOSE["services"]
    programs = {"fake-broker": fake_broker, "reference-service": reference_service}
    for name in ("broker", "example"):
        (program,) = services[name]["entrypoint"]
        check(programs[program], [resolved(word) for word in services[name]["command"]])
    given = check_harness([resolved(word) for word in services["harness"]["command"]])
    assert given["prometheus"] == "0.0.0.0:9464"
    assert given["pid"] == 1
    for url in given["url"]:
        assert url.startswith("http://example:8000/")


def test_services_of_the_compose_file_fit_together() -> None:
    services = COMPOSE["services"]
    for name, one in services.items():
        for other in one.get("depends_on", ()):
            assert other in services, name
        for port in one.get("ports", ()):
            assert port.startswith("127.0.0.1:"), f"{name} would be open to the network"
        for volume in one.get("volumes", ()):
            source = volume.partition(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], (
                volume
            )
    build = services["harness"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()
    assert f"AS {build['target']}\n" in (ROOT / "Containerfile").read_text()
    assert services["harness"]["pid"] == services["broker"]["network_mode"] == "service:example"
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    (target,) = scraped[0]["static_configs"][0]["targets"]
    host, _, port = target.partition(":")
    # The exporter answers under the name of its machine alone.
    assert services["harness"]["hostname"] == host
    assert any(word.endswith(f":{port}") for word in services["harness"]["command"])


# The image


def test_the_image_is_pinned_unprivileged_and_has_a_health_check() -> None:
    text = re.sub(r"\\\n\s*", "", (ROOT / "Containerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    stages = dict(re.findall(r"^FROM (\S+) AS (\w+)$", text, re.MULTILINE)[::-1])
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {
        "${BASE_IMAGE}${BASE_DIGEST:+@${BASE_DIGEST}}",
        "runtime",
    }
    assert stages
    assert lines[-1] == 'ENTRYPOINT ["harness"]', "the last stage is what a build without a target makes"
    users = re.findall(r"^USER (\S+)$", text, re.MULTILINE)
    assert users == ["10001:10001"]
    check_line = next(line for line in lines if line.startswith("HEALTHCHECK --"))
    program, *arguments = json.loads(check_line[check_line.index("[") :])
    assert program == "harness"
    check_harness(arguments)
    installs = [line for line in lines if "pip install" in line]
    assert all("--no-deps" in line for line in installs)
    assert any("--require-hashes" in line and "deploy/requirements.txt" in line for line in installs)
    for line in lines:
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source}" in (ROOT / ".containerignore").read_text().splitlines(), source


def test_the_workflow_builds_the_image_and_runs_commands_that_exist() -> None:
    steps = yaml.safe_load((ROOT / ".github" / "workflows" / "guard.yml").read_text())["jobs"]["image"][
        "steps"
    ]
    lines = [shlex.split(step["run"]) for step in steps if "run" in step]
    builds = [line for line in lines if line[:2] == ["docker", "build"]]
    assert [(ROOT / line[line.index("--file") + 1]).is_file() for line in builds] == [True, True]
    ran = [
        line[line.index("sse-leak-harness") + 1 :]
        for line in lines
        if "run" in line and "sse-leak-harness" in line
    ]
    assert [words[0] for words in ran] == ["doctor", "guard"]
    for words in ran:
        check_harness(words)


def test_the_image_has_the_packages_that_the_tests_ran_with() -> None:
    def pins(path: Path) -> dict[str, str]:
        return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", path.read_text(), re.MULTILINE))

    ours, image = pins(ROOT / "constraints.txt"), pins(DEPLOY / "requirements.txt")
    assert {name: version for name, version in image.items() if ours.get(name) != version} == {}
    assert {"locust", "uvicorn", "psycopg", "prometheus-client", "opentelemetry-sdk", "setuptools"} <= set(
        image
    )


# Kubernetes


def objects(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


def template(one: dict[str, Any]) -> dict[str, Any] | None:
    """Its pod template, if it makes pods."""
    if one["kind"] == "CronJob":
        one = one["spec"]["jobTemplate"]
    found = one.get("spec", {}).get("template")
    return found if isinstance(found, dict) else None


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.name)
def test_commands_of_the_manifests(path: Path) -> None:
    seen = 0
    for one in objects(path):
        for container in (template(one) or {"spec": {"containers": []}})["spec"]["containers"]:
            command, arguments = container.get("command", ["harness"]), container["args"]
            seen += 1
            if command == ["harness"]:
                given = check_harness(arguments)
                if probe := given.get("probe_command"):
                    _, _, far = probe.partition(" -- harness ")
                    check_harness(shlex.split(far))
            elif command == ["locust"]:
                check_locust(arguments)
            else:
                assert command == ["python3", "-m", "harness.swarm.worker"]
                assert re.fullmatch(r"[a-z-]+:5557", arguments[0])
    assert seen


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.name)
def test_the_manifests_fit_together(path: Path) -> None:
    found = objects(path)
    named = {(one["kind"], one["metadata"]["name"]) for one in found}
    pods = [pod for one in found if (pod := template(one))]
    for one in found:
        assert set(one) <= {"apiVersion", "kind", "metadata", "spec", "rules", "roleRef", "subjects"}
        if one["kind"] in ("Deployment",):
            assert one["spec"]["selector"]["matchLabels"] == template(one)["metadata"]["labels"]  # type: ignore[index]
        if one["kind"] == "Service":
            wanted = one["spec"]["selector"].items()
            (behind,) = [pod for pod in pods if wanted <= pod["metadata"]["labels"].items()]
            open_ports = {
                port["containerPort"]
                for container in behind["spec"]["containers"]
                for port in container["ports"]
            }
            assert {port["port"] for port in one["spec"]["ports"]} <= open_ports
    for pod in pods:
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 10001
        volumes = {volume["name"] for volume in spec["volumes"]}
        for volume in spec["volumes"]:
            if claim := volume.get("persistentVolumeClaim"):
                assert ("PersistentVolumeClaim", claim["claimName"]) in named
        if account := spec.get("serviceAccountName"):
            assert ("ServiceAccount", account) in named
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes
            assert container["resources"]["limits"]["memory"]
            # Wherever it writes, something is mounted: the image itself is read-only.
            for word in container["args"]:
                if word.startswith("--out="):
                    place = word.partition("=")[2]
                    assert any(
                        place.startswith(mount["mountPath"] + "/") for mount in container["volumeMounts"]
                    )


def test_the_guard_waits_for_as_many_workers_as_there_are_pods() -> None:
    found = {
        one["metadata"]["name"]: one
        for one in objects(DEPLOY / "kubernetes" / "guard.yaml")
        if one["kind"] == "Job"
    }
    (harness,) = template(found["leak-guard"])["spec"]["containers"]  # type: ignore[index]
    given = check_harness(harness["args"])
    workers = found["leak-guard-workers"]["spec"]
    assert given["remote_workers"] == workers["completions"] == workers["parallelism"]
    (worker,) = workers["template"]["spec"]["containers"]
    service, _, port = worker["args"][0].partition(":")
    assert given["bind"] == f"0.0.0.0:{port}"
    assert ("Service", service) in {
        (one["kind"], one["metadata"]["name"]) for one in objects(DEPLOY / "kubernetes" / "guard.yaml")
    }
    assert worker["envFrom"] == harness["envFrom"], "both know the same secret"


def test_the_test_for_the_operator_has_the_fields_of_its_resource() -> None:
    """https://docs.locust.io/en/stable/kubernetes-operator.html"""
    folder = DEPLOY / "kubernetes" / "locust-operator"
    (one,) = objects(folder / "locusttest.yaml")
    assert (one["apiVersion"], one["kind"]) == ("locust.io/v1", "LocustTest")
    known = {"image", "workers", "args", "env", "locustfile", "labels", "annotations", "master", "worker",
             "imagePullPolicy", "imagePullSecrets"}  # fmt: skip
    assert set(one["spec"]) <= known
    # The operator puts these arguments before those of the spec.
    for role in (
        ["--master"],
        ["--worker", "--master-host", "leak-swarm"],
    ):
        check_locust([*role, *shlex.split(one["spec"]["args"])])
    (values,) = objects(folder / "values.yaml")
    assert set(values) <= {"image", "imagePullSecrets", "nameOverride", "fullnameOverride", "serviceAccount", "rbac",
                           "podAnnotations", "podLabels", "podSecurityContext", "securityContext", "resources",
                           "nodeSelector", "tolerations", "affinity"}  # fmt: skip
