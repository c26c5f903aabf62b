"""The command: help that teaches, refusals with reasons, and one whole life of a suite."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest
from typer.testing import CliRunner

from trunkline_local import catalog
from trunkline_local.__main__ import app
from trunkline_local.demo import acts
from trunkline_local.embedded import free_port

run = CliRunner().invoke


@pytest.mark.parametrize(
    "command", ["up", "down", "status", "logs", "trace", "transcribe", "translate", "demo"]
)
def test_every_command_says_what_it_is_for(command):
    assert command in run(app, ["--help"]).output
    answer = run(app, [command, "--help"])
    assert answer.exit_code == 0
    assert len(answer.output) > 200


def test_where_nothing_runs_every_command_says_so(tmp_path):
    where = ["--data-dir", str(tmp_path)]
    assert run(app, ["status", *where]).exit_code == 3
    assert json.loads(run(app, ["status", "--json", *where]).output) == {"running": False}
    assert "nothing runs" in run(app, ["down", *where]).output
    for command in (["logs", "features"], ["trace"]):
        answer = run(app, [*command, *where])
        assert answer.exit_code == 1
        assert "no " in answer.output


def test_replicas_are_written_as_name_and_number(tmp_path):
    answer = run(app, ["up", "--replicas", "ranking", "--data-dir", str(tmp_path)])
    assert answer.exit_code == 2


def test_the_fraud_act_is_installed():
    assert "fraud" in [act.title.partition(":")[0] for act in acts()]


def test_a_directory_that_cannot_be_made_is_a_refusal_and_no_traceback(tmp_path):
    (tmp_path / "file").touch()
    answer = run(app, ["up", "--detach", "--data-dir", str(tmp_path / "file" / "suite")])
    assert answer.exit_code == 1
    assert "Not a directory" in answer.output


def installed(site, name, text):
    """A package of one module in `site`, whose entry point of `trunkline.commands` is its `app`."""
    (site / f"{name}.py").write_text(text)
    about = site / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[trunkline.commands]\n{name} = {name}:app\n")


def test_another_package_adds_subcommands_and_one_that_breaks_is_in_nobodys_way(tmp_path):
    installed(
        tmp_path,
        "greeting",
        "import typer\n"
        "app = typer.Typer(help='Says hello.')\n"
        "@app.command()\n"
        "def hello(name: str): print('hello', name)\n"
        "@app.command()\n"
        "def bye(): print('bye')\n",
    )
    installed(tmp_path, "broken", "raise ImportError('no such part')\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}

    def command(*argv):
        return subprocess.run(
            [sys.executable, "-m", "trunkline_local", *argv],
            env=environment | {"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )

    answer = command("greeting", "hello", "world")
    assert answer.stdout == "hello world\n"
    assert "broken" in answer.stderr
    assert "no such part" in answer.stderr
    listing = command("--help").stdout
    assert "Says hello." in listing
    assert "down" in listing


def free_base():
    """A port with room for the suite's others behind it."""
    while True:
        base = free_port()
        taken = []
        for port in (base + offset + more for offset in range(7) for more in (0, 1000)):
            with socket.socket() as listener:
                taken.append(port > 65000 or listener.connect_ex(("127.0.0.1", port)) == 0)
        if not any(taken):
            return base


def trunkline(*argv, check=True):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
    return subprocess.run(
        [sys.executable, "-m", "trunkline_local", *argv],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=check,
    )


def left(processes):
    """Those that still run after a while. A zombie does not: it waits for an init that may never reap it."""
    _, alive = psutil.wait_procs(processes, 20)
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


async def test_a_suite_comes_up_restarts_what_dies_survives_its_supervisor_and_goes_down(tmp_path):
    where = ["--data-dir", str(tmp_path / "suite")]
    base = free_base()
    up = ["up", "--detach", "--port-base", str(base), *where]

    def status():
        return json.loads(run(app, ["status", "--json", *where]).output)

    def processes():
        return {process["name"]: process for process in status()["processes"]}

    try:
        assert f"127.0.0.1:{base}" in trunkline(*up).stdout
        first = processes()
        assert {process["health"] for process in first.values()} == {"SERVING"}
        shipped = {f"{model.name}/versions/1": model.task for model in catalog.bundles()}
        served = {"speech": "recognize_speech", "translate": "translate"}
        assert first["ranking"]["versions"] == [
            name for name, task in shipped.items() if task not in served.values()
        ]
        left_out = status()["left_out"]
        for name, task in served.items():
            versions = [version for version, does in shipped.items() if does == task]
            assert (first[name]["versions"] if name in first else []) == versions
            assert sum(sentence.startswith(name) for sentence in left_out) == (not versions)
        assert "already running" in trunkline(*up).stdout
        other = run(app, [*up, "--replicas", "ranking=2"])
        assert other.exit_code == 1
        assert "with other options" in other.output

        os.kill(first["features"]["pid"], signal.SIGKILL)
        async with asyncio.timeout(30):
            while True:
                again = (await asyncio.to_thread(processes))["features"]
                if again["restarts"] and again["health"] == "SERVING":
                    break
        assert again["pid"] != first["features"]["pid"]

        # The supervisor is killed: its children go with it, and the next start finds everything where it was.
        children = [psutil.Process(process["pid"]) for process in processes().values()]
        os.kill(status()["pid"], signal.SIGKILL)
        assert await asyncio.to_thread(left, children) == []
        assert status() == {"running": False}
        trunkline(*up)
        assert await catalog.in_production(f"127.0.0.1:{base + 6}", ["models/fraud"]) == [
            "models/fraud/versions/1"
        ]
        children = [psutil.Process(process["pid"]) for process in processes().values()]
    finally:
        down = trunkline("down", *where, check=False)
    assert "stopped" in down.stdout
    assert await asyncio.to_thread(left, children) == []


def test_a_start_that_fails_quotes_the_log_and_leaves_nothing_running(tmp_path, monkeypatch):
    bundle = tmp_path / "models" / "fraud" / "artifact"
    bundle.mkdir(parents=True)
    (bundle / "model.onnx").write_bytes(b"not a model")
    (bundle / "signature.json").write_text('{"task": "score_transaction"}')
    where = ["--data-dir", str(tmp_path / "suite")]
    answer = trunkline(
        "up", "--detach", "--port-base", "0", "--models", str(tmp_path / "models"), *where, check=False
    )
    assert answer.returncode == 1
    assert "trunkline:" in answer.stdout
    assert json.loads(trunkline("status", "--json", *where, check=False).stdout) == {"running": False}


def test_a_directory_without_a_model_is_refused_at_once(tmp_path):
    where = ["--data-dir", str(tmp_path / "suite")]
    answer = trunkline("up", "--port-base", "0", "--models", str(tmp_path), *where, check=False)
    assert answer.returncode == 1
    assert "--models" in answer.stdout


def test_a_model_without_its_signature_fails_the_start_and_names_the_file(tmp_path):
    artifact = tmp_path / "models" / "fraud" / "artifact"
    artifact.mkdir(parents=True)
    (artifact / "model.onnx").write_bytes(b"not read before the signature")
    where = ["--data-dir", str(tmp_path / "suite")]
    answer = trunkline(
        "up", "--detach", "--port-base", "0", "--models", str(tmp_path / "models"), *where, check=False
    )
    assert answer.returncode == 1
    assert "signature.json" in answer.stdout
