"""Repairs of what is said of data that cannot be used."""

from __future__ import annotations

import functools
import os
import re
import struct
from typing import Any

from fairseq.data import indexed_dataset
from fairseq.tasks import FairseqTask
from fairseq.tasks.language_modeling import LanguageModelingTask

from lrdrop_fairseq.compat.refusals import Refused
from lrdrop_fairseq.compat.replace import REPAIRED, replace

_AGAIN = "prepare the data again, or copy them again if they were copied"
_MAGIC = b"MMIDIDX\x00\x00"
_HEADER = struct.Struct("<9sQBQ")
# Of a number, by fairseq's code of its type.
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 8, 7: 8, 8: 2, 9: 4, 10: 8}
# What fairseq says of an example that is too long.
_TOO_LONG = re.compile(
    r"Size of sample #(\d+) is invalid \(=(.*)\) since max_positions=(.*), skip "
)


def refuse_cut_data_files() -> None:
    """Let data that were cut, by a full disk or a broken copy, be refused when they are opened.

    fairseq looks at the end of a file only when it comes to the last sentence, which a training
    may do after days, or never; a cut index ends in a traceback of NumPy. Where one of the two
    files is missing it takes the target for one that is not known, and the training ends in a
    traceback of its model.

    Ends with: a fairseq that compares the size of a data file with its index (none so far).
    """
    original = indexed_dataset.make_dataset
    if hasattr(original, REPAIRED):
        return

    @functools.wraps(original)
    def make_dataset(path: str, impl: str, *args: Any, **kwargs: Any) -> Any:
        check_both(path)
        if impl == "mmap" and indexed_dataset.MMapIndexedDataset.exists(path):
            check_whole(path)
        return original(path, impl, *args, **kwargs)

    replace(indexed_dataset, make_dataset)


def refuse_half_of_data() -> None:
    """Let a subset of whose source one of two files is missing be refused.

    fairseq says that there is no such subset.

    Ends with: a fairseq that says which file is missing (none so far).
    """
    original = indexed_dataset.dataset_exists
    if hasattr(original, REPAIRED):
        return

    @functools.wraps(original)
    def dataset_exists(path: str, *args: Any, **kwargs: Any) -> Any:
        check_both(path)
        return original(path, *args, **kwargs)

    replace(indexed_dataset, dataset_exists)


def check_both(path: str) -> None:
    """Raise Refused if there is one of ``path.idx`` and ``path.bin``, and not the other."""
    there, missing = f"{path}.idx", f"{path}.bin"
    if os.path.exists(there) == os.path.exists(missing):
        return
    if os.path.exists(missing):
        there, missing = missing, there
    raise Refused(f"{missing} does not exist, while {there} does; {_AGAIN}")


def check_whole(path: str) -> None:
    """Raise Refused unless ``path.idx`` is a whole index, and ``path.bin`` has all it speaks of.

    An index is a header (magic, version, type of the numbers, how many sentences), then the length
    of each sentence, then the place of its first byte in the data.
    """
    index, data = f"{path}.idx", f"{path}.bin"
    with open(index, "rb") as stream:
        header = stream.read(_HEADER.size)
        if len(header) < _HEADER.size or not header.startswith(_MAGIC):
            raise Refused(f"{index}: not an index that fairseq-preprocess writes; {_AGAIN}")
        _, _, code, count = _HEADER.unpack(header)
        whole = _HEADER.size + (4 + 8) * count
        found = os.path.getsize(index)
        if found < whole:
            raise Refused(f"{index} was cut: it has {found:,} bytes of {whole:,}; {_AGAIN}")
        if count == 0 or code not in _BYTES:
            return
        stream.seek(_HEADER.size + 4 * (count - 1))
        (length,) = struct.unpack("<i", stream.read(4))
        stream.seek(whole - 8)
        (place,) = struct.unpack("<q", stream.read(8))
    whole, found = place + length * _BYTES[code], os.path.getsize(data)
    if found < whole:
        raise Refused(f"{data} was cut: it has {found:,} bytes of {whole:,}; {_AGAIN}")


def say_what_is_too_long() -> None:
    """Let a sentence that is longer than the model takes be called by its line.

    fairseq names a sample of nothing, and advises alone to skip it, which leaves it without a
    translation, so that a test set cannot be scored.

    Ends with: a fairseq that says what else can be done (none so far).
    """
    original = FairseqTask.filter_indices_by_size
    if hasattr(original, REPAIRED):
        return

    @functools.wraps(original)
    def filter_indices_by_size(
        self: Any,
        indices: Any,
        dataset: Any,
        max_positions: Any = None,
        ignore_invalid_inputs: bool = False,
    ) -> Any:
        try:
            return original(self, indices, dataset, max_positions, ignore_invalid_inputs)
        except Exception as error:
            if not (said := _TOO_LONG.match(str(error))):
                raise
            index, size, limit = said.groups()
            size = re.sub(r"np\.\w+\((\d+)\)", r"\1", size)  # as NumPy 2 shows its numbers
            subset = next((name for name, held in self.datasets.items() if held is dataset), None)
            raise Refused(
                f"{'sample' if isinstance(self, LanguageModelingTask) else 'line'} "
                f"{int(index) + 1} of {subset or 'the data'} has {size} tokens, more than the "
                f"{limit} that the model takes. Shorten the line in the text, on both sides where "
                f"there are two, and prepare that again{_cut_by(self, size, limit)}; or let a "
                "training leave it out of the validation, with "
                "--skip-invalid-size-inputs-valid-test"
            ) from error

    replace(FairseqTask, filter_indices_by_size)


def _cut_by(task: Any, size: str, limit: str) -> str:
    """The flag of this task that cuts what is too long, as a part of a sentence."""
    options: Any = getattr(task, "cfg", None) or getattr(task, "args", None)
    if hasattr(options, "truncate_source") and not options.truncate_source:
        first = [int(re.sub(r"\D", "", numbers.split(",")[0]) or 0) for numbers in (size, limit)]
        if first[0] > first[1]:
            return "; or cut a long source with --truncate-source (after -- of a script)"
    if getattr(options, "shorten_method", None) == "none":
        return "; or cut it with --shorten-method truncate (after -- of a script)"
    return ""
