"""The data beside which a run is scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..data import Dataset, NoSplitError, Reading, load
from ..data.earlier import in_one_class
from ..errors import UserError

SEED = 0  # of generated data: with one seed all runs on them have the same judge


def truth(data: Mapping[str, Any], say: Callable[[str], None]) -> tuple[Dataset, Dataset | None]:
    """The data that a run learned from, and test data of the same kind, if there are any.

    `data` are the facts of the data in the run's configuration. Generated data are more of the same
    kind instead. What is told of both parts, such as the pictures left out, `say` hears once.

    Raises:
        UserError: if they cannot be had, or the test data are of another shape.
    """
    told: set[str] = set()

    def report(text: str) -> None:
        if text not in told:
            told.add(text)
            say(text)

    known: Any = {"size": data["size"], "stack": data["stack"], "seed": SEED, "report": report}
    known |= Reading.of(data).keywords()
    train = in_one_class(load(data["source"], **known), data)
    try:
        test = load(data["source"], split="test", **known)
    except NoSplitError as error:
        say(f"there are no test data, so some scores are left out: {error}")
        return train, None
    if test.shape != train.shape:
        raise UserError(
            f"the test data in {data['source']} are of shape {test.shape}, but the training data "
            f"of {train.shape}"
        )
    return train, in_one_class(test, data).with_classes_of(train)
