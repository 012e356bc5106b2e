"""`digits_mlp` with a tenth of its training examples, for appendix_d.py."""

import numpy as np

import optdsl.tasks
from optdsl.tasks.digits import BATCH, CLASSES, EXAMPLES, PIXELS, apply, digits, labelled, mlp

images, _ = digits()
parts = labelled(images.reshape(EXAMPLES, PIXELS).astype(np.float32) / 16)
x, y = parts["train"]
parts["train"] = x[: len(x) // 10], y[: len(y) // 10]

task = optdsl.tasks.supervised(
    "digits_mlp with a tenth of the data", "MLP on a tenth of the digits; hidden 32, steps 300",
    lambda key: mlp(key, PIXELS, 32, CLASSES), apply, batch_size=BATCH, steps=300, **parts,
)  # fmt: skip
