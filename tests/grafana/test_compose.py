"""The compose file and what it hands to Prometheus and Grafana: everything it names is there, and fits together."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from grafana import generate
from proxy.config.load import load
from tests.grafana.stage import needed

Json = dict[str, Any]

HERE = generate.HERE
COMPOSE: Json = yaml.safe_load((HERE / "compose.yaml").read_text())
SERVICES: Json = COMPOSE["services"]


def test_what_is_mounted_exists() -> None:
    for service in SERVICES.values():
        for mount in service["volumes"]:
            source = mount.split(":")[0]
            assert source in COMPOSE["volumes"] or (HERE / source).resolve().exists(), mount


def test_nothing_listens_beyond_loopback() -> None:
    published = [port for service in SERVICES.values() for port in service["ports"]]
    assert published and all(port.startswith("127.0.0.1:") for port in published)


def test_the_gate_of_the_compose_file_has_a_valid_configuration() -> None:
    variables = {"HEADGATE_KEY": "k" * 20, "HEADGATE_ADMIN_TOKEN": "t" * 20}
    config = load(HERE / "gate.yaml", variables)
    assert config.admin.token is not None
    (scraped,) = yaml.safe_load((HERE / "prometheus.yaml").read_text())["scrape_configs"]
    assert scraped["static_configs"][0]["targets"] == [f"headgate:{config.admin.port}"]
    assert "headgate" in SERVICES and "headgate" in config.admin.hosts


def test_grafana_finds_its_data_source_and_the_dashboards() -> None:
    (source,) = yaml.safe_load((HERE / "provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090" and "prometheus" in SERVICES
    (provider,) = yaml.safe_load((HERE / "provisioning/dashboards/headgate.yaml").read_text())["providers"]
    assert f"./dashboards:{provider['options']['path']}:ro" in SERVICES["grafana"]["volumes"]


def test_prometheus_can_read_its_configuration(tmp_path: Path) -> None:
    shutil.copy(HERE / "prometheus.yaml", tmp_path)
    shutil.copytree(HERE / "rules", tmp_path / "rules")
    (tmp_path / "admin-token").write_text("t")
    command = [needed("promtool"), "check", "config", str(tmp_path / "prometheus.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
