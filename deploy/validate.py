#!/usr/bin/env python3
"""Checks the deployment files without Docker and without a cluster.

    compose      the Compose Specification's JSON schema; health checks, start order, variables, mounted files
    kubernetes   the API's own schemas (strict), plain and as kustomize renders them; references; probes
    nats         nats-server's own check of each configuration

It fetches its pinned validators at the first run; prints what it has checked, exits 1 with all problems.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent
sys.path.insert(0, str(DEPLOY / "local"))
sys.dont_write_bytecode = True

import servers  # noqa: E402
import tools  # noqa: E402
from nats import Nats  # noqa: E402
from problem import Problem  # noqa: E402

KUBERNETES = "1.35.0"
# One container or Deployment each: the folders of services/, but for the program that bundles them.
SERVICES = sorted(path.name for path in (DEPLOY.parent / "services").iterdir() if path.is_dir() and path.name != "muster")


class Report:
    def __init__(self):
        self.problems = []

    def expect(self, condition, problem):
        if not condition:
            self.problems.append(problem)


def load(path):
    with path.open() as file:
        return [document for document in yaml.safe_load_all(file) if document]


def check_compose(report):
    file = DEPLOY / "compose" / "docker-compose.yml"
    text, compose = file.read_text(), load(file)[0]
    schema = load(file.with_name("compose-spec.json"))[0]
    for error in jsonschema.Draft7Validator(schema).iter_errors(compose):
        report.problems.append(f"{file.name}: {'/'.join(map(str, error.absolute_path))}: {error.message}")
    containers = compose["services"]
    report.expect(
        sorted(containers) == sorted([*SERVICES, "nats", "postgres"]),
        f"{file.name}: has {sorted(containers)}, but the services are {SERVICES}, besides nats and postgres",
    )
    for name, container in containers.items():
        check_container(report, f"{file.name}: {name}", container, containers)
    known = set(re.findall(r"^(\w+)=", (file.parent / ".env.example").read_text(), re.M))
    used = set(re.findall(r"\$\{(\w+)", text)) - {"MUSTER_IMAGE"}
    report.expect(known == used, f".env.example has {sorted(known)}, but {file.name} uses {sorted(used)}")


def check_container(report, where, container, containers):
    report.expect("test" in container.get("healthcheck", {}), f"{where} has no health check")
    for other, how in container.get("depends_on", {}).items():
        report.expect(other in containers, f"{where} depends on {other}, which does not exist")
        report.expect(how["condition"] == "service_healthy", f"{where} does not wait until {other} is healthy")
    for volume in container.get("volumes", []):
        source = volume.split(":")[0]
        exists = not source.startswith(".") or (DEPLOY / "compose" / source).is_file()
        report.expect(exists, f"{where} mounts {source}, which does not exist")
    if "build" in container:
        recipe = (DEPLOY / "compose" / container["build"]["context"]).resolve() / container["build"]["dockerfile"]
        report.expect(recipe.is_file(), f"{where} is built from {recipe}, which does not exist")


def check_kubernetes(report):
    base = DEPLOY / "k8s" / "base"
    plan = load(base / "kustomization.yaml")[0]
    named = set(plan["resources"]) | {patch["path"] for patch in plan["patches"]}
    named |= {file for generated in plan["configMapGenerator"] for file in generated.get("files", [])}
    present = {path.name for path in base.iterdir()} - {"kustomization.yaml", "secret.env.example"}
    report.expect(named == present, f"k8s/base: kustomization.yaml names {sorted(named)}, the folder has {sorted(present)}")
    patch = load(base / "service.patch.yaml")[0]
    resources = [document for name in plan["resources"] for document in load(base / name)]
    resources = [merge(document, patch) if document["kind"] == "Deployment" else document for document in resources]
    check_resources(report, "k8s/base", resources)
    secrets = set(re.findall(r"^([\w-]+)=", (base / "secret.env.example").read_text(), re.M))
    generated = {entry["name"] for entry in plan["configMapGenerator"]}
    for resource in resources:
        check_references(report, resource, generated, secrets)
    deployments = sorted(resource["metadata"]["name"] for resource in resources if resource["kind"] == "Deployment")
    report.expect(deployments == SERVICES, f"k8s/base: Deployments {deployments}, but the services are {SERVICES}")
    check_nats_cluster(report, base, resources)
    check_rendered(report)


def merge(document, patch):
    """A strategic merge as far as service.patch.yaml needs it: lists of named things are merged by name."""
    if isinstance(document, dict) and isinstance(patch, dict):
        both = {key: merge(document[key], patch[key]) if key in document else patch[key] for key in patch if key != "name"}
        return {**document, **both}
    if isinstance(document, list) and all("name" in entry for entry in [*document, *patch]):
        mine = {entry["name"]: entry for entry in document}
        theirs = {entry["name"]: entry for entry in patch}
        return [merge(mine[n], theirs[n]) if n in mine and n in theirs else {**mine, **theirs}[n] for n in {**mine, **theirs}]
    return patch


def check_resources(report, where, resources):
    for resource in resources:
        name = f"{where}: {resource['kind']} {resource['metadata']['name']}"
        try:
            kubernetes_validate.validate(resource, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            report.problems.append(f"{name}: {error.message} at {'/'.join(map(str, error.path))}")
        for container in containers_of(resource):
            missing = [probe for probe in ("startupProbe", "readinessProbe", "livenessProbe") if probe not in container]
            report.expect(not missing, f"{name}: {', '.join(missing)} missing")
            ports = {port["name"] for port in container.get("ports", [])}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                port = container.get(probe, {}).get("httpGet", {}).get("port")
                report.expect(port is None or port in ports, f"{name}: {probe} asks port {port}, which is not in {sorted(ports)}")


def containers_of(resource):
    return resource.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])


def check_references(report, resource, configs, secrets):
    where = f"k8s/base: {resource['kind']} {resource['metadata']['name']}"
    for container in containers_of(resource):
        for source in container.get("envFrom", []):
            name = source["configMapRef"]["name"]
            report.expect(name in configs, f"{where}: no ConfigMap {name}")
        for variable in container.get("env", []):
            key = variable.get("valueFrom", {}).get("secretKeyRef", {}).get("key")
            report.expect(key is None or key in secrets, f"{where}: the secret has no key {key}")


def check_nats_cluster(report, base, resources):
    servers_wanted = next(r for r in resources if r["kind"] == "StatefulSet" and r["metadata"]["name"] == "nats")["spec"]["replicas"]
    routes = re.findall(r"nats-route://(nats-\d+)\.nats-headless:6222", (base / "nats.conf").read_text())
    expected = [f"nats-{index}" for index in range(servers_wanted)]
    report.expect(routes == expected, f"k8s/base/nats.conf has routes to {routes}, but the StatefulSet has {expected}")


def check_rendered(report):
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        print("kubernetes: kustomize's own rendering SKIPPED, because kubectl is not installed")
        return
    for folder in [DEPLOY / "k8s" / "base", *sorted((DEPLOY / "k8s" / "overlays").iterdir())]:
        done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
        where = f"k8s/{folder.name} as rendered"
        report.expect(done.returncode == 0, f"{where}: {done.stderr.strip()}")
        check_resources(report, where, [document for document in yaml.safe_load_all(done.stdout) if document])


def check_nats(report, program):
    users = DEPLOY / "nats" / "users.conf"
    report.expect(users.read_text() == (DEPLOY / "k8s" / "base" / users.name).read_text(), f"k8s/base/{users.name} is not nats/{users.name}")
    passwords = {name: "letters-9" for name in re.findall(r"\$(NATS_PASSWORD_\w+)", users.read_text())}
    environment = dict(os.environ, POD_NAME="nats-0", **passwords)
    for config in (DEPLOY / "nats" / "single.conf", DEPLOY / "k8s" / "base" / "nats.conf"):
        done = subprocess.run([program, "-t", "-c", config], capture_output=True, text=True, env=environment, check=False)
        report.expect(done.returncode == 0, f"{config.relative_to(DEPLOY)}: {(done.stdout + done.stderr).strip()}")


def prepare():
    """Fetches nats-server and the validators, and makes these importable."""
    global jsonschema, kubernetes_validate, yaml
    dev = servers.Dev()
    with dev.locked():
        nats = Nats(dev)
        nats.install(servers.say)
        validators = dev.dir / "wheels" / "validators"
        tools.install("validators", validators, servers.say, for_this_python=True)
    sys.path.insert(0, str(validators))
    import jsonschema
    import kubernetes_validate
    import yaml

    return nats.program()


def main():
    report = Report()
    try:
        tools.check_python()
        program = prepare()
    except Problem as problem:
        print(f"validate.py: {problem}", file=sys.stderr)
        return 1
    checks = {"compose": check_compose, "kubernetes": check_kubernetes, "nats": lambda report: check_nats(report, program)}
    for name, check in checks.items():
        before = len(report.problems)
        check(report)
        print(f"{name}: {'valid' if len(report.problems) == before else 'NOT valid'}")
    with contextlib.suppress(BrokenPipeError):
        for problem in report.problems:
            print(f"- {problem}", file=sys.stderr)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
