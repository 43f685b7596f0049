"""A folder in Hugging Face's layout: ``config.json``, the weights, the tokenizer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lrdrop_fairseq.import_encoder.errors import ImportingError

# In the order in which they are looked for; the second of each pair lists the parts of a model
# that is too large for one file.
WEIGHTS = (
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
TOKENIZER = "tokenizer.json"
# What a tokenizer may consist of beside it, and the config: whoever serves the model needs them.
TEXT_FILES = (
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",
    "vocab.json", "merges.txt", "sentencepiece.bpe.model", "spiece.model", "config.json",
)  # fmt: skip
# Those of which a tokenizer can be made where TOKENIZER is missing.
VOCABULARIES = ("vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model")


@dataclass(frozen=True)
class Folder:
    """One pretrained model on disk."""

    path: Path

    def __post_init__(self) -> None:
        if not self.path.is_dir():
            raise ImportingError(f"{self.path} is no folder")

    def json(self, name: str) -> dict[str, Any]:
        """What is in a JSON file, which must hold an object."""
        path = self.path / name
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ImportingError(f"{path} does not exist: is this a model's folder?") from error
        except ValueError as error:
            raise ImportingError(f"{path}: not valid JSON ({error})") from error
        if not isinstance(found, dict):
            raise ImportingError(f"{path}: a JSON object was expected")
        return found

    def weights(self) -> dict[str, Tensor]:
        """All parameters by name, in float32 or, if they are kept so, in half precision."""
        for whole, index in WEIGHTS:
            if (self.path / whole).is_file():
                return _read(self.path / whole)
            if (self.path / index).is_file():
                return self._parts(index)
        names = ", ".join(whole for whole, _ in WEIGHTS)
        raise ImportingError(f"{self.path} holds no weights: none of {names}, whole or in parts")

    def _parts(self, index: str) -> dict[str, Tensor]:
        """The parameters of a model in several files."""
        places: dict[str, str] = self.json(index).get("weight_map", {})
        found: dict[str, Tensor] = {}
        for name in sorted(set(places.values())):
            # A name and not a way out of the folder.
            path = self.path / Path(name).name
            if not path.is_file():
                raise ImportingError(f"{path} does not exist, but {index} names it: a part is lost")
            found.update(_read(path))
        missing = sorted(set(places) - set(found))
        if missing or not found:
            raise ImportingError(
                f"{self.path / index}: {', '.join(missing[:3]) or 'no parameter'} is in no part"
            )
        return found

    def tokenizer(self) -> Any:
        """The ``tokenizers.Tokenizer``; one of older files is made by ``transformers``."""
        if (self.path / TOKENIZER).is_file():
            from tokenizers import Tokenizer

            try:
                return Tokenizer.from_file(str(self.path / TOKENIZER))
            except Exception as error:  # the library raises plain Exception
                raise ImportingError(f"{self.path / TOKENIZER}: {error}") from error
        # Without any of them transformers makes a tokenizer that knows no word.
        if not any((self.path / name).is_file() for name in VOCABULARIES):
            raise ImportingError(
                f"{self.path} holds no tokenizer: neither {TOKENIZER} nor one of "
                f"{', '.join(VOCABULARIES)}; get these files of the model, too"
            )
        try:
            from transformers import AutoTokenizer

            return AutoTokenizer.from_pretrained(str(self.path)).backend_tokenizer
        except ModuleNotFoundError:
            raise
        except Exception as error:  # whatever it makes of files that are missing or damaged
            raise ImportingError(
                f"{self.path} has no {TOKENIZER}, and transformers cannot make one of its other "
                f"files ({str(error).splitlines()[0]})"
            ) from error


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError:
        raise
    except Exception as error:  # each reader has its own kinds
        reason = str(error).strip().partition("\n")[0]
        raise ImportingError(f"{path}: cannot be read as weights ({reason})") from error
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise ImportingError(f"{path}: parameters by name were expected")
    return found
