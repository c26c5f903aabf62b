"""The data directory: one suite at a time, and a clean start after a crash."""

import subprocess
import sys
import time

import psutil
import pytest

from trunkline_local.state import AlreadyRunning, DataDirectory, Health, ProcessState, SuiteState


@pytest.fixture
def data(tmp_path):
    return DataDirectory(tmp_path)


def test_a_second_supervisor_is_refused_and_the_first_is_seen_as_running(data):
    state = SuiteState(pid=1, started=0.0, gateway="127.0.0.1:1", processes=[ProcessState(name="gateway")])
    with data.held():
        data.write(state)
        assert data.running() == state
        with pytest.raises(AlreadyRunning), DataDirectory(data.path).held():
            pass
    assert data.running() is None
    assert data.read() == state


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    yield process
    process.kill()
    process.wait()


def test_what_a_killed_supervisor_left_is_ended_before_the_next_start(data, sleeper):
    started = psutil.Process(sleeper.pid).create_time()
    left = ProcessState(name="features", health=Health.SERVING, pid=sleeper.pid, started=started)
    data.write(SuiteState(pid=1, started=started, processes=[left]))
    with data.held():
        sleeper.wait(timeout=10)


def test_another_process_that_was_given_the_same_id_is_left_alone(data, sleeper):
    other = ProcessState(name="features", health=Health.SERVING, pid=sleeper.pid, started=time.time() - 3600)
    data.write(SuiteState(pid=1, started=0.0, processes=[other]))
    with data.held():
        assert sleeper.poll() is None


def test_the_directory_is_the_owners_alone(data):
    with data.held():
        assert data.path.stat().st_mode & 0o777 == 0o700
