"""`digits_vit`: a small Vision Transformer on 8x8 handwritten digits, cut into 2x2 patches."""

import numpy as np

from optdsl.tasks.digits import CLASSES, digits, labelled
from optdsl.tasks.nnx_model import from_nnx
from optdsl.tasks.task import Task, supervised
from optdsl.tasks.transformer import Size, VisionTransformer, patches_of

BATCH = 8
SIDE = 2


def digits_vit(name: str, doc: str, width: int, layers: int, heads: int, steps: int) -> Task:
    """The task, with the name, line and size of the table."""
    images, _ = digits()
    patches = patches_of(images[..., None].astype(np.float32) / 16, SIDE)
    size, shape = Size(width, layers, heads), patches.shape[1:]
    init, apply = from_nnx(lambda rngs: VisionTransformer(size, shape, CLASSES, rngs))
    return supervised(name, doc, init, apply, **labelled(patches), batch_size=BATCH, steps=steps)
