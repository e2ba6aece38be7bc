"""The example of an agent of one's own works from outside the package, by its entry point."""

import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "own_agent"


def test_agent_is_found_conforms_and_searches(tmp_path: Path) -> None:
    settings = ConfigParser()
    settings.read(EXAMPLE / "setup.cfg")
    info = tmp_path / "own_agent-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-agent\nVersion: 1.0\n")
    points = settings["options.entry_points"]["archgym.agents"].strip()
    (info / "entry_points.txt").write_text(f"[archgym.agents]\n{points}\n")
    code = f"""
import sys
sys.path[:0] = [{str(tmp_path)!r}, {str(EXAMPLE)!r}, {str(ROOT)!r}]
import archgym as ag
from archgym.testing import ProvingSimulator, check_agent
from archgym.agent.agent import agent_class
check_agent(agent_class("coordinates"), n_designs=40)
task = ag.Task.make(ProvingSimulator("mixed", has_failures=False))
study = ag.Study.create({str(tmp_path / "study")!r}, task, agent="coordinates", seed=1, budget=100)
print(study.run().best.reward)
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0
