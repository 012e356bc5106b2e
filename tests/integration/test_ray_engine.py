"""The Ray engine on real clusters: one that it starts, and one whose nodes come and go."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from optdsl.diagnostics import Source
from optdsl.evolve.engines import CRASHED, ENGINES, TIMED_OUT, Engine, EngineError, EngineOptions
from optdsl.evolve.judge import Job, JudgeSpec, Outcome, Score, judge
from optdsl.frontend import load
from optdsl.tasks import TaskSource, read_task

# JAX warns where the tests' cluster starts a node; the engine's own is quiet.
pytestmark = pytest.mark.filterwarnings(r"ignore:os\.fork\(\):RuntimeWarning")

DEADLINE = 120.0
"""Longer than a job takes beside whatever else the machine does."""

AWAITED = 10.0
"""The deadline where one job hangs."""

LOCALHOST = "127.0.0.2"
"""Not 127.0.0.1, which Ray replaces by the machine's address, and waits for in vain."""

CRASHING, HANGING, SLOW = 1001, 1002, 1003
"""Seeds."""

TASK = """
import dataclasses
import pathlib

import jax

import behaviour
from optdsl.tasks import get_task

quadratic = get_task("quadratic")
assert (pathlib.Path(__file__).parent / "data" / "numbers.txt").read_text() == "1 2 3"

def init(key):
    if not isinstance(key, jax.core.Tracer):
        behaviour.act(jax.random.key_data(key).tolist())
    return quadratic.init(key)

task = dataclasses.replace(quadratic, init=init)
"""

BEHAVIOUR = """
import os
import time
import uuid
from pathlib import Path

import jax

def key(seed):
    return jax.random.key_data(jax.random.split(jax.random.key(seed))[0]).tolist()

def act(found):
    if found == key({crashing}):
        os._exit(1)
    if found == key({hanging}):
        Path({folder!r}, "hanging").write_text(str(os.getpid()))
        time.sleep(1000)
    if found == key({slow}):
        Path({folder!r}, f"slow {{uuid.uuid4()}}").touch()
        time.sleep(1)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster whose head, which the driver joins, has no CPUs: jobs wait for another node."""
    with pytest.MonkeyPatch.context() as patch:
        # A dead node is noticed within two seconds.
        patch.setenv("RAY_health_check_initial_delay_ms", "0")
        patch.setenv("RAY_health_check_period_ms", "500")
        patch.setenv("RAY_health_check_failure_threshold", "3")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        cluster = Cluster()
        cluster.add_node(num_cpus=0, node_ip_address=LOCALHOST, include_dashboard=False)
        yield cluster
        cluster.shutdown()


@contextmanager
def node(cluster: Any, cpus: int) -> Iterator[Any]:
    """A node for a while, or until it is removed."""
    node = cluster.add_node(
        num_cpus=cpus, node_ip_address=LOCALHOST, object_store_memory=80 * 2**20
    )
    try:
        yield node
    finally:
        if node in cluster.worker_nodes:
            cluster.remove_node(node, allow_graceful=False)


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    """A task that reads a module and data beside it, and misbehaves for some seeds."""
    folder = tmp_path / "mine"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "numbers.txt").write_text("1 2 3")
    (folder / ".gitignore").write_text("data/\n")
    behaviour = BEHAVIOUR.format(
        crashing=CRASHING, hanging=HANGING, slow=SLOW, folder=str(tmp_path)
    )
    (folder / "behaviour.py").write_text(behaviour)
    (folder / "my_task.py").write_text(TASK)
    return folder / "my_task.py"


def engine(
    task: TaskSource, address: str | None, workers: int = 1, deadline: float = DEADLINE
) -> Engine:
    spec = JudgeSpec(task, 0.1, "jit")
    return ENGINES["ray"](spec, EngineOptions(workers, deadline, address))


def job(key: str, *rungs: tuple[int, ...], factor: float = 1.0, **more: Any) -> Job:
    text = f"def train(w, g, lr):\n    return lr * g * {factor}\n"
    return Job(key, load(Source("<test>", text)), rungs, **more)


def expected(job: Job) -> tuple[Score, ...]:
    """What the job gives in this process."""
    return judge(JudgeSpec(TaskSource("quadratic"), 0.1, "jit"), job).scores


def wait_for(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, f"no {what} after a minute"
        time.sleep(0.05)


def outcomes(engine: Engine, jobs: list[Job]) -> list[Outcome]:
    for one in jobs:
        engine.submit(one)
    return [engine.result(one.key) for one in jobs]


def test_a_cluster_started_here_gives_what_this_process_gives() -> None:
    import ray

    jobs = [
        job("one seed", (0,)),
        job("another program", (0, 1), factor=0.5),
        job("goes on", (0,), (1, 2), floors=(-1.0,)),
        job("ends early", (0,), (1, 2), floors=(0.0,)),
        job("diverges", (0,), factor=1e30),
    ]
    with closing(engine(TaskSource("quadratic"), None, workers=2)) as ours:
        assert ray.cluster_resources()["CPU"] == 2
        with pytest.raises(EngineError, match="already uses Ray"):
            engine(TaskSource("quadratic"), None)
        found = outcomes(ours, jobs)
    assert not ray.is_initialized()
    assert [one.scores for one in found] == [expected(job) for job in jobs]
    assert [len(one.scores) for one in found] == [1, 2, 3, 1, 1]
    assert not any(one.failure for one in found)


def test_crashes_and_hangs_of_a_users_task_cost_one_outcome_each(
    cluster: Any, task_file: Path, tmp_path: Path
) -> None:
    jobs = [
        job("crashes", (CRASHING,)),
        job("hangs", (0, HANGING)),
        job("fine", (0, 1)),
        job("fine too", (3,), factor=0.5),
    ]
    ours = engine(read_task(task_file), cluster.address, deadline=AWAITED)
    with node(cluster, cpus=2), closing(ours):
        crashed, hung, *fine = outcomes(ours, jobs)
        ours.submit(job("still hanging", (HANGING,)))
        (tmp_path / "hanging").unlink()
        wait_for((tmp_path / "hanging").exists, "job that hangs")
    assert (crashed.failure, crashed.scores) == (CRASHED, ())
    assert (hung.failure, hung.scores) == (TIMED_OUT, ())
    assert [one.scores for one in fine] == [expected(job) for job in jobs[2:]]
    pid = int((tmp_path / "hanging").read_text())
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), "end of the job that hangs")


def test_a_lost_nodes_jobs_are_judged_by_one_that_joins(
    cluster: Any, task_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [job(f"job {n}", (SLOW,), factor=1 + n / 10) for n in range(2)]
    with closing(engine(read_task(task_file), cluster.address)) as ours:
        with node(cluster, cpus=1):
            for one in jobs:
                ours.submit(one)
            wait_for(lambda: list(tmp_path.glob("slow *")), "job that started")
        with node(cluster, cpus=1):
            found = [ours.result(one.key) for one in jobs]
    assert capsys.readouterr().out == ""
    assert [one.scores for one in found] == [expected(job) for job in jobs]
    assert len(list(tmp_path.glob("slow *"))) > len(jobs)


def test_a_node_that_cannot_judge_says_why(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_task.py").write_text("raise ValueError('no data')\n")
    with node(cluster, cpus=1):
        with closing(engine(read_task(tmp_path / "my_task.py"), cluster.address)) as ours:
            ours.submit(job("any", (0,)))
            with pytest.raises(EngineError, match=r"my_task\.py:1: ValueError: no data"):
                ours.result("any")
        monkeypatch.setattr("optdsl.evolve.engines.ray_cluster.version", lambda name: "9.9")
        with closing(engine(TaskSource("quadratic"), cluster.address)) as ours:
            ours.submit(job("any", (0,)))
            with pytest.raises(EngineError, match=r"and this is 9\.9: results may differ"):
                ours.result("any")


def test_a_folder_that_is_too_big_to_be_sent_is_named(
    cluster: Any, task_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray._private.runtime_env.packaging.GCS_STORAGE_MAX_SIZE", 100)
    with pytest.raises(EngineError, match=r"my_task\.py to the nodes: .*\.rayignore"):
        engine(read_task(task_file), cluster.address)


def test_an_address_without_a_cluster_is_named_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(EngineError, match=f"can't join the Ray cluster at {address}: .*refused"):
        engine(TaskSource("quadratic"), address)


@pytest.mark.parametrize("address", ["ray://somewhere:10001", "somewhere"])
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    with pytest.raises(EngineError, match=f"{address}: an address is HOST:PORT"):
        engine(TaskSource("quadratic"), address)


def test_without_the_package_the_engine_says_how_to_install_it() -> None:
    code = """if True:
        import sys
        sys.modules["ray"] = None
        from optdsl.evolve.engines import ENGINES, EngineError, EngineOptions
        from optdsl.evolve.judge import JudgeSpec
        from optdsl.tasks import TaskSource
        try:
            ENGINES["ray"](JudgeSpec(TaskSource("quadratic"), 0.1, "jit"), EngineOptions(1, 1.0))
        except EngineError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True
    )
    assert "pip install 'optdsl[ray]'" in done.stdout
