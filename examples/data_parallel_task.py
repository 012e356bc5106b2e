"""A task trained with its batches over eight devices, beside one:  python data_parallel_task.py.

Nothing in a task or a program knows of devices: the plan names each step's examples, so a plan that
is cut along the batch is all that data parallelism takes. On a machine with one device, eight
virtual ones show that the scores are the same but for rounding.
"""

from functools import partial
from pathlib import Path

import jax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

jax.config.update("jax_num_cpu_devices", 8)

import numpy as np  # noqa: E402

import optdsl  # noqa: E402
from optdsl.passes.pipeline import prepare  # noqa: E402
from optdsl.tasks import find_task  # noqa: E402
from optdsl.tasks.evaluation import run_jitted, seed_data  # noqa: E402

task = find_task(Path(__file__).with_name("my_task.py"))
lion = optdsl.load("lion")
weights, plan = seed_data(task, 0)
train = jax.jit(partial(run_jitted, task, prepare(lion.ir, lion.hyperparameters)))

mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
everywhere = jax.device_put(weights, NamedSharding(mesh, P()))
cut = jax.device_put(plan, NamedSharding(mesh, P(None, "data")))  # shape (steps, batch)

for name, run in (("one device", (weights, plan)), (f"{mesh.size} devices", (everywhere, cut))):
    validation, test = train(*run, np.float32(0.01))
    print(f"{name}: validation {validation:.6f}, test {test:.6f}")
