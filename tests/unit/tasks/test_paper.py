"""The paper's proxies over generated data: shapes, parts, and what is refused."""

from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from optdsl.tasks import Task, find_task, paper_lm, paper_vit


def shapes(task: Task) -> list[tuple[int, ...]]:
    return [leaf.shape for leaf in jax.tree.leaves(jax.eval_shape(task.init, jax.random.key(0)))]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    random = np.random.RandomState(0)
    words = ["".join(random.choice(list("abcdefgh"), size=4)) for _ in range(300)]
    file = tmp_path / "corpus.txt"
    lines = (" ".join(random.choice(words, size=12)) + " é\n" for _ in range(300))
    file.write_text("".join(lines), encoding="utf-8")
    return file


def test_the_language_model_has_the_papers_shapes(corpus: Path) -> None:
    file = corpus.with_name("my_task.py")
    text = f"from optdsl.tasks import paper_lm\ntask = paper_lm({str(corpus)!r}, steps=3)\n"
    file.write_text(text, encoding="utf-8")
    task = find_task(file)
    assert (task.name, task.steps) == ("paper_lm", 3)
    found = shapes(task)
    assert (3000, 128) in found  # the embedding
    assert (32, 128) in found  # the positions
    assert found.count((128, 2, 64)) == 2 * 3  # queries, keys and values of two layers
    assert found.count((128, 512)) == 2
    assert jax.eval_shape(task.plan, jax.random.key(0)).shape == (3, 64)


def test_the_vision_transformer_has_the_papers_shapes(tmp_path: Path) -> None:
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (40, 64, 64, 3)).astype(np.uint8)
    np.savez(tmp_path / "images.npz", images=images, labels=np.arange(40) % 4)
    task = paper_vit(tmp_path / "images.npz")
    assert (task.name, task.steps) == ("paper_vit", 30_000)
    found = shapes(task)
    assert (16 * 16 * 3, 96) in found  # the patches' embedding
    assert (16, 96) in found  # the positions
    assert found.count((96, 3, 32)) == 3 * 3
    assert (96, 4) in found


def test_images_of_a_folder_are_resized_and_their_folders_are_the_classes(tmp_path: Path) -> None:
    for number, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for i in range(3):
            grey = np.full((20 + i, 30), 100 * number + i, np.uint8)
            Image.fromarray(grey).save(tmp_path / name / f"{i}.png")
    task = paper_vit(tmp_path, steps=2)
    assert (96, 2) in shapes(task)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    images, labels = np.zeros((4, 64, 64, 3), np.uint8), np.zeros(4, int)
    file = tmp_path / "images.npz"
    for arrays, said in (
        ({"images": images}, r"must have arrays `images` and `labels`; it has images"),
        ({"images": images[:, :32], "labels": labels}, r"must be uint8 .*it is uint8 of shape"),
        ({"images": images, "labels": labels[:3]}, r"must be integers of shape \(4,\)"),
        ({"images": images[:2], "labels": labels[:2]}, r"three images or more"),
    ):
        np.savez(file, **arrays)
        with pytest.raises(ValueError, match=said):
            paper_vit(file)
    short = tmp_path / "short.txt"
    short.write_text("a few words")
    with pytest.raises(ValueError, match="must have more tokens than the context of 32"):
        paper_lm(short)
