"""The paper's own two proxies, over the user's data (Chen et al., 2023, appendix F).

A task file of two lines:

    from optdsl.tasks import paper_lm
    task = paper_lm("corpus.txt")

Models, batches and steps are the paper's, the data are not: a tenth of ImageNet and LM1B there.
One training is meant for an accelerator. Scores are mean log-likelihoods: the perplexity is exp of
minus the score, and for images the likelihood tells more of small differences than the accuracy.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optdsl.tasks.nnx_model import from_nnx
from optdsl.tasks.task import TEST, VALIDATION, Task, supervised
from optdsl.tasks.text import Tokens, language_model
from optdsl.tasks.transformer import Size, VisionTransformer, patches_of

VIT, LM = Size(width=96, layers=3, heads=3), Size(width=128, layers=2, heads=2)
BATCH = 64
PIXELS, PATCH, CHANNELS = 64, 16, 3
CONTEXT = 32
VOCABULARY = 3_000
LEARNING_RATE = 1e-3

HELD_OUT = 0.05
"""The share of the data that the validation part has; the test part has as much."""

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def paper_lm(path: str | os.PathLike[str], steps: int = 20_000) -> Task:
    """A Transformer of two layers, 128 wide, with two heads, on sequences of 32 tokens.

    The text's first nine tenths are for training, and for the vocabulary: byte-pair encoding
    (Sennrich et al., 2016) with 3,000 entries, by the library `tokenizers`.

    Args:
        path: of a UTF-8 text, from the folder where optdsl is run.
        steps: the paper's 20,000.

    Raises:
        ValueError: for a text that is too short, or not UTF-8.
        OSError: where it can't be read.
        ModuleNotFoundError: without `tokenizers`; says how to install it.
    """
    text = Path(path).read_text(encoding="utf-8")
    first, second = int(len(text) * (1 - 2 * HELD_OUT)), int(len(text) * (1 - HELD_OUT))
    parts = {"train": text[:first], VALIDATION: text[first:second], TEST: text[second:]}
    return language_model(
        "paper_lm",
        f"the paper's Transformer on {Path(path).name}; steps {steps}",
        LM,
        _byte_pairs(parts),
        vocabulary=VOCABULARY,
        context=CONTEXT,
        batch_size=BATCH,
        steps=steps,
        learning_rate=LEARNING_RATE,
    )


def _byte_pairs(parts: dict[str, str]) -> dict[str, Tokens]:
    try:
        import tokenizers
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "paper_lm needs the library `tokenizers`: pip install 'optdsl[paper]'"
        ) from error
    coder = tokenizers.Tokenizer(tokenizers.models.BPE())
    coder.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )
    coder.train_from_iterator(parts["train"].splitlines(keepends=True), trainer)

    def tokens(text: str) -> Tokens:
        lines = coder.encode_batch(text.splitlines(keepends=True))
        return np.asarray([token for line in lines for token in line.ids], np.int32)

    return {part: tokens(text) for part, text in parts.items()}


def paper_vit(path: str | os.PathLike[str], steps: int = 30_000) -> Task:
    """A ViT of three layers, 96 wide, with three heads, on 64x64 images in 16x16 patches.

    Nine tenths of the images are for training, by a hash of their numbers.

    Args:
        path: of a `.npz` file with `images`, uint8 of shape (n, 64, 64, 3), and `labels`, integers
            of shape (n,); or of a folder that has one of image files for each class, which
            `pillow` reads and resizes. From the folder where optdsl is run.
        steps: the paper's 30,000.

    Raises:
        ValueError: for arrays of other shapes, or too few images.
        OSError: where the images can't be read.
        ModuleNotFoundError: for a folder without `pillow`; says how to install it.
    """
    images, labels = _folder(Path(path)) if Path(path).is_dir() else _archive(Path(path))
    order = sorted(range(len(images)), key=lambda i: hashlib.sha256(f"image {i}".encode()).digest())
    held = max(int(len(images) * HELD_OUT), 1)
    rows = {VALIDATION: order[:held], TEST: order[held : 2 * held], "train": order[2 * held :]}
    patches = patches_of(images, PATCH)
    parts = {part: (patches[numbers], labels[numbers]) for part, numbers in rows.items()}
    shape, classes = patches.shape[1:], int(labels.max()) + 1
    init, classify = from_nnx(lambda rngs: VisionTransformer(VIT, shape, classes, rngs))

    def apply(weights: Any, pixels: jax.Array) -> jax.Array:
        return classify(weights, pixels.astype(jnp.float32) / 127.5 - 1)

    return supervised(
        "paper_vit",
        f"the paper's Vision Transformer on {Path(path).name}; steps {steps}",
        init,
        apply,
        train=parts["train"],
        validation=parts[VALIDATION],
        test=parts[TEST],
        batch_size=BATCH,
        steps=steps,
        learning_rate=LEARNING_RATE,
    )


Images = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def _archive(file: Path) -> Images:
    """The arrays of a `.npz` file; nothing in it is unpickled."""
    with np.load(file, allow_pickle=False) as data:
        if not {"images", "labels"} <= set(data):
            found = ", ".join(data) or "none"
            raise ValueError(f"{file} must have arrays `images` and `labels`; it has {found}")
        images, labels = data["images"], data["labels"]
    if images.dtype != np.uint8 or images.shape[1:] != (PIXELS, PIXELS, CHANNELS):
        raise ValueError(
            f"`images` of {file} must be uint8 of shape (n, {PIXELS}, {PIXELS}, {CHANNELS}): it is "
            f"{images.dtype} of shape {images.shape}"
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != images.shape[:1]:
        raise ValueError(
            f"`labels` of {file} must be integers of shape ({len(images)},): they are "
            f"{labels.dtype} of shape {labels.shape}"
        )
    return _enough(file, images, labels)


def _folder(folder: Path) -> Images:
    """The image files of a folder's folders, each of which is a class."""
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "paper_vit needs the library `pillow` to read images: pip install 'optdsl[paper]'"
        ) from error
    classes = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    files = [
        (file, number)
        for number, entry in enumerate(classes)
        for file in sorted(entry.iterdir())
        if file.suffix.lower() in IMAGES
    ]

    def pixels(file: Path) -> np.ndarray[Any, Any]:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB").resize((PIXELS, PIXELS)))

    images = np.asarray([pixels(file) for file, _ in files], np.uint8)
    return _enough(folder, images, np.asarray([number for _, number in files], np.int32))


def _enough(path: Path, images: Any, labels: Any) -> Images:
    if len(images) < 3:
        raise ValueError(f"{path} must have three images or more, one for each part")
    return images, labels
