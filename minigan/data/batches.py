"""Endless, seekable batches: batch i depends on (seed, i) and on nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..errors import UserError
from ..hints import also, told
from .dataset import Dataset
from .streams import Purpose, stream

_ENDLESS = "leave it out: batches are shuffled by their seed, and all of them are whole"
_MEMORY = "samples are in memory, or mapped: leave it out"
_WAY = (
    "a seed says in which order samples come, and output_range what the pixels 0 and 255 become, "
    "None for points: Batches(data, 64, seed=0, output_range=(-1, 1))"
)


class Batches:
    """Endless, seekable batches of a data set.

    Each epoch has its own permutation; samples at its end that do not fill a batch are left out. To
    resume, set `position` to the saved one: there is no other state. `batch_size` is from 1 to
    len(dataset), `seed` from 0 to 2**64 - 1. `output_range` holds the values of the pixels 0 and
    255, such as (-1, 1); None for points. What is drawn with a batch, as its data set says, depends
    on the seed and the batch: which images are mirrored, and which part of wide ones is shown.

    A loop over batches never ends; `len(batches)` are an epoch, and `epoch()` gives the rest of
    one. There is nothing to shuffle, no worker and no `drop_last`: samples are in memory.

    Raises:
        UserError: if the batch does not fit the data, or the range does not fit its kind.

    >>> data = mg.data.Dataset("mine", np.zeros((6, 1, 28, 28), np.uint8))
    >>> batches = Batches(data, 2, seed=0, output_range=(-1, 1))
    >>> batches
    <Batches of mine: 2 of 6 samples each, 3 in an epoch, position 0>
    >>> next(batches).shape, batches.position
    ((2, 1, 28, 28), 1)
    >>> len(list(batches.epoch())), batches.position
    (2, 3)
    """

    @also(
        shuffle=_ENDLESS,
        drop_last=_ENDLESS,
        num_workers=_MEMORY,
        pin_memory=_MEMORY,
        value_range="output_range",
    )
    @told(_WAY)
    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        seed: int,
        output_range: tuple[float, float] | None,
    ) -> None:
        if not 1 <= batch_size <= len(dataset):
            raise UserError(
                f"A batch of {batch_size} cannot be drawn from the {len(dataset)} samples of "
                f"{dataset.name}; give --batch-size from 1 to {len(dataset)}."
            )
        if dataset.is_image and output_range is None:
            raise UserError(
                f"{dataset.name} holds images, so the batches need an output range such as (-1, 1)."
            )
        if not dataset.is_image and output_range is not None:
            raise UserError(
                f"{dataset.name} holds points, which are used as they are: "
                f"the output range must be None, not {output_range}."
            )
        self.dataset = dataset
        self.batch_size = batch_size
        self.seed = seed
        self.output_range = output_range
        self.per_epoch = len(dataset) // batch_size
        self.position = 0  # batches given so far
        self._epoch = -1
        self._order = np.empty(0, np.int64)
        self._few: dict[int, np.ndarray] = {}
        self._permute(0)
        if output_range is not None:
            low, high = output_range
            # A table of 256 values: 0 and 255 give the two ends exactly.
            self._levels = np.linspace(low, high, 256).astype(np.float32)

    def at(self, i: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Batch i, counted from 0; `position` stays.

        x is (batch_size, C, H, W) or (batch_size, D) float32; labels (batch_size,) int64, or None
        if the data have none.

        Raises:
            IndexError: if i is negative.
        """
        index = self._index(i)
        y = self.dataset.y
        return self._drawn(index, i), None if y is None else y[index]

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return self.per_epoch

    def __repr__(self) -> str:
        return (
            f"<Batches of {self.dataset.name}: {self.batch_size} of {len(self.dataset):,} samples "
            f"each, {self.per_epoch:,} in an epoch, position {self.position:,}>"
        )

    def epoch(self) -> Iterator[np.ndarray]:
        """The batches up to the end of this epoch; all of the next one, if that is reached."""
        for _ in range(self.per_epoch - self.position % self.per_epoch):
            yield next(self)

    def __iter__(self) -> Iterator[np.ndarray]:
        return self

    def __next__(self) -> np.ndarray:
        x, _ = self.at(self.position)
        self.position += 1
        return x

    def labelled(self) -> tuple[np.ndarray, np.ndarray]:
        """The next batch and its labels.

        Raises:
            UserError: if the data have no labels.
        """
        i, y = self.position, self._labels()
        index = self._index(i)
        self.position += 1
        return self._drawn(index, i), y[index]

    def indexed(self) -> tuple[np.ndarray, np.ndarray]:
        """The next batch and the index of each sample in the data set.

        x is as of `at`, the indices are (batch_size,) int64, no index twice in one batch.

        Raises:
            UserError: if an index has no image of its own, as each draw shows another one.
        """
        self.check_same()
        i = self.position
        index = self._index(i)
        self.position += 1
        return self._drawn(index, i), index

    def check_same(self) -> None:
        """Make sure that each draw of a sample is the same.

        Raises:
            UserError: if images are mirrored or cropped at random.
        """
        if self.dataset.flip or self.dataset.wide is not None:
            asked = "--flip" if self.dataset.flip else "--crop random"
            raise UserError(
                "this model learns a code for each image, and has none for what is changed at each "
                f"draw; leave out {asked}"
            )

    def few(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The same `count` samples and their labels at every call, equally many of each class.

        The choice depends on the seed alone. If the number of classes does not divide `count`, the
        first classes have one sample more. Shapes are as of `at`.

        Raises:
            UserError: if the data have no labels, or a class has too few samples.
        """
        if count not in self._few:
            y, classes = self._labels(), self.dataset.classes
            order = stream(self.seed, 0, Purpose.FEW).permutation(len(self.dataset))
            each, more = divmod(count, len(classes))
            picked = [order[y[order] == c][: each + (c < more)] for c in range(len(classes))]
            self._few[count] = np.concatenate(picked)
            if each == 0 or len(self._few[count]) < count:
                raise UserError(
                    f"{count} labelled samples, as many of each class, cannot be had from the "
                    f"{len(y)} of {self.dataset.name} in {len(classes)} classes; "
                    f"ask for {len(classes)} or more, but not for more than there are."
                )
        index = self._few[count]
        return self._samples(index), self._labels()[index]

    def _labels(self) -> np.ndarray:
        if self.dataset.y is None:
            raise UserError(
                f"{self.dataset.name} has no labels, which this model needs; "
                "give --data with labels, such as glyphs, mnist or a folder of class folders."
            )
        return self.dataset.y

    def _index(self, i: int) -> np.ndarray:
        """The indices of batch i in the data set."""
        if i < 0:
            raise IndexError(f"batch {i}: batches are counted from 0")
        epoch, batch = divmod(i, self.per_epoch)
        self._permute(epoch)
        return self._order[batch * self.batch_size : (batch + 1) * self.batch_size]

    def _drawn(self, index: np.ndarray, i: int) -> np.ndarray:
        """The samples of these indices as batch i shows them, in the output range."""
        data = self.dataset
        x = data.x[index] if data.wide is None else self._windows(data.wide, index, i)
        if data.flip:
            mirrored = stream(self.seed, i, Purpose.FLIPS).random(len(index)) < 0.5
            x[mirrored] = x[mirrored, :, :, ::-1]
        return self._in_range(x)

    def _windows(self, wide: np.ndarray, index: np.ndarray, i: int) -> np.ndarray:
        """From each of these images a part at a random place."""
        height, width = self.dataset.shape[1:]
        room = np.array([wide.shape[2] - height, wide.shape[3] - width])
        places = stream(self.seed, i, Purpose.CROPS).integers(0, room + 1, (len(index), 2))
        x = np.empty((len(index), *self.dataset.shape), np.uint8)
        for target, sample, (top, left) in zip(x, index, places, strict=True):
            target[:] = wide[sample, :, top : top + height, left : left + width]
        return x

    def _samples(self, index: np.ndarray) -> np.ndarray:
        """The samples of these indices as they are, in the output range."""
        return self._in_range(self.dataset.x[index])

    def _in_range(self, x: np.ndarray) -> np.ndarray:
        return x if self.output_range is None else self._levels[x]

    def _permute(self, epoch: int) -> None:
        if epoch != self._epoch:
            self._order = stream(self.seed, epoch, Purpose.EPOCHS).permutation(len(self.dataset))
            self._epoch = epoch
