"""The alerting rules, checked by Prometheus' own tool, and against the metrics that exist."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.services import Service

RULES = Path(__file__).parent.parent.parent / "deploy" / "prometheus" / "checkout.rules.yml"


def test_prometheus_takes_the_rules() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt install prometheus)")
    checked = subprocess.run([promtool, "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "4 rules found" in checked.stdout


async def test_the_rules_speak_of_metrics_that_the_checkout_has(checkout: Service) -> None:
    exposed = (await checkout.get("/metrics")).body
    for expression in re.findall(r"expr: (.+)", RULES.read_text()):
        [metric] = re.findall(r"(?:checkout|jobs)_\w+", expression)
        assert f"# TYPE {metric.removesuffix('_total')}" in exposed
