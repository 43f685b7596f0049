"""CTranslate2 reads exported checkpoints and finds the same translations with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests import toy_run as toy
from tests.toy import make_sample, make_trainer, write_data

ctranslate2: Any = pytest.importorskip("ctranslate2", reason="CTranslate2 is not installed")


def translator(folder: Path) -> Any:
    return ctranslate2.Translator(
        str(folder), device="cpu", compute_type="float32", inter_threads=1, intra_threads=1
    )


@pytest.mark.parametrize("length_penalty", [1.0, 0.0])
def test_beam_search_of_a_trained_model(
    toy_run: toy.ToyRun, converted: Path, length_penalty: float
) -> None:
    """The same tokens, and scores (log probability over length to the power of the penalty)."""
    model = toy.from_pretrained(toy_run)
    source = [model.encode(line) for line in toy.lines(toy_run.texts / "test.de")]
    # Both let a translation be empty. Where they must not (their default), fairseq strikes the
    # end of the sentence off the first step's distribution, and CTranslate2 also renormalizes
    # what is left: the translations stay the same, the scores do not.
    expected = model.generate(
        source, beam=4, lenpen=length_penalty, max_len_a=0, max_len_b=60, min_len=0
    )
    pieces = [model.string(sentence).split() for sentence in source]
    results = translator(converted).translate_batch(
        pieces, beam_size=4, length_penalty=length_penalty, max_decoding_length=60,
        min_decoding_length=0, return_scores=True,
    )  # fmt: skip
    assert len(results) == len(expected) == 20
    texts = [" ".join(result.hypotheses[0]) for result in results]
    assert texts == [model.string(best["tokens"]) for best, *_ in expected]
    assert len(set(texts)) > 5
    for result, (best, *_) in zip(results, expected):
        assert result.scores[0] == pytest.approx(float(best["score"]), abs=1e-5)


@pytest.fixture(scope="module")
def converted(toy_run: toy.ToyRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The converter's output; it ran where the plugin is not."""
    folder = tmp_path_factory.mktemp("converted")
    exported = toy.export(toy_run.checkpoint, folder / "exported.pt", drop_optimizer=True)
    toy.without_plugin("ctranslate2.converters.fairseq", "--model_path", exported,
                       "--data_dir", toy_run.data, "--output_dir", folder / "model")  # fmt: skip
    return folder / "model"


@pytest.mark.parametrize(
    "flags",
    [
        ["--encoder-learned-pos", "--decoder-learned-pos", "--layernorm-embedding"],
        ["--share-decoder-input-output-embed", "--activation-fn=gelu"],
        ["--arch=lr_drop_bart_base"],
    ],
)
def test_token_scores_of_post_norm_models(tmp_path: Path, flags: list[str]) -> None:
    """Of random models, with 2 layers in the encoder and 3 in the decoder."""
    data = write_data(tmp_path / "data", {})
    trainer = make_trainer("--decoder-attention-heads=2", "--source-lang=de", "--target-lang=en",
                           *flags)  # fmt: skip
    trainer.consolidate_optimizer()
    trainer.save_checkpoint(str(tmp_path / "c.pt"), {"train_iterator": {"epoch": 1}})
    exported = toy.export(tmp_path / "c.pt", tmp_path / "exported.pt")
    converter = ctranslate2.converters.FairseqConverter(str(exported), str(data))
    converter.convert(str(tmp_path / "model"))

    sample = make_sample(((5, 4), (3, 7), (6, 1)))
    model, dictionary = trainer.get_model().eval(), trainer.task.source_dictionary
    with torch.no_grad():
        log_probs = model.get_normalized_probs(model(**sample["net_input"]), log_probs=True)
    source, target = (
        [dictionary.string(row[row != dictionary.pad()]).split() for row in tokens]
        for tokens in (sample["net_input"]["src_tokens"], sample["target"])
    )
    results = translator(tmp_path / "model").score_batch(source, target)
    assert [len(result.tokens) for result in results] == [4, 7, 1]
    for row, tokens, result in zip(log_probs, sample["target"], results):
        for step, score in enumerate(result.log_probs):
            assert score == pytest.approx(float(row[step, tokens[step]]), abs=1e-5)
