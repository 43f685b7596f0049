"""The demo: its grammar, its corpus, what it reads from a training log, its report."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from examples.translation.demo import generate_corpus
from examples.translation.demo import report as demo_report
from examples.translation.demo.german_english import (
    clauses,
    english,
    german,
    planner,
    readers,
    writer,
)
from examples.translation.records import training_log

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "examples" / "translation" / "demo"
RECORDS = DEMO.parent / "records"
MODULE = (sys.executable, ROOT / "scripts" / "runs" / "run_module.py")


LEXICON = readers.load_lexicon()
PLAN = planner.Planner(random.Random(1), LEXICON)


def noun(lemma: str) -> Any:
    return next(word for word in LEXICON.nouns if word.lemma == lemma)


def adjective(lemma: str) -> Any:
    return next(word for word in LEXICON.adjectives if word.lemma == lemma)


def verb(infinitive: str, frame: str, prefix: str = "") -> Any:
    return next(
        word
        for word in LEXICON.verbs
        if (word.prefix, word.infinitive, word.frame) == (prefix, infinitive, frame)
    )


def phrase(determiner: str, lemma: str, *, plural: bool = False, number: str = "") -> Any:
    return PLAN.assemble(noun(lemma), plural, determiner, "", [adjective("gut")], number)


@pytest.mark.parametrize(
    ("determiner", "lemma", "forms"),
    [
        ("der", "Mann", "der gute Mann|den guten Mann|dem guten Mann|des guten Mannes"),
        ("der", "Frau", "die gute Frau|die gute Frau|der guten Frau|der guten Frau"),
        ("der", "Buch", "das gute Buch|das gute Buch|dem guten Buch|des guten Buches"),
        ("ein", "Mann", "ein guter Mann|einen guten Mann|einem guten Mann|eines guten Mannes"),
        ("ein", "Frau", "eine gute Frau|eine gute Frau|einer guten Frau|einer guten Frau"),
        ("kein", "Buch", "kein gutes Buch|kein gutes Buch|keinem guten Buch|keines guten Buches"),
        ("", "Kaffee", "guter Kaffee|guten Kaffee|gutem Kaffee|guten Kaffees"),
        ("", "Milch", "gute Milch|gute Milch|guter Milch|guter Milch"),
        ("", "Wasser", "gutes Wasser|gutes Wasser|gutem Wasser|guten Wassers"),
        ("dies", "Junge", "dieser gute Junge|diesen guten Jungen|diesem guten Jungen|"
         "dieses guten Jungen"),
        ("euer", "Lehrer", "euer guter Lehrer|euren guten Lehrer|eurem guten Lehrer|"
         "eures guten Lehrers"),
    ],
)  # fmt: skip
def test_agreement_in_the_singular(determiner: str, lemma: str, forms: str) -> None:
    built = phrase(determiner, lemma)
    assert [built.forms[case] for case in german.CASES] == forms.split("|")


@pytest.mark.parametrize(
    ("determiner", "number", "forms"),
    [
        ("der", "", "die guten Kinder|die guten Kinder|den guten Kindern|der guten Kinder"),
        ("mein", "", "meine guten Kinder|meine guten Kinder|meinen guten Kindern|"
         "meiner guten Kinder"),
        ("", "", "gute Kinder|gute Kinder|guten Kindern|guter Kinder"),
        ("", "zwei", "zwei gute Kinder|zwei gute Kinder|zwei guten Kindern|zwei guter Kinder"),
        ("", "viele", "viele gute Kinder|viele gute Kinder|vielen guten Kindern|"
         "vieler guter Kinder"),
    ],
)  # fmt: skip
def test_agreement_in_the_plural(determiner: str, number: str, forms: str) -> None:
    built = phrase(determiner, "Kind", plural=True, number=number)
    assert [built.forms[case] for case in german.CASES] == forms.split("|")


def test_compounds_inherit_gender_and_plural() -> None:
    compound = noun("Apfelkuchen")
    assert (compound.gender, compound.genitive, compound.plural) == (
        "m",
        "Apfelkuchens",
        "Apfelkuchen",
    )
    assert (compound.english, compound.english_plural) == ("apple cake", "apple cakes")


def test_english_depends_on_the_noun() -> None:
    tall, big = (
        [word.english[0] for word in LEXICON.adjectives_for(noun(lemma)) if word.lemma == "groß"]
        for lemma in ("Mann", "Haus")
    )
    assert (tall, big) == (["tall"], ["big"])
    assert PLAN.assemble(noun("Frau"), False, "mein", "my", []).english == "my wife"
    assert PLAN.assemble(noun("Frau"), False, "der", "the", []).english == "the woman"


@pytest.mark.parametrize(
    ("preposition", "case", "lemma", "expected"),
    [
        ("in", "dat", "Park", "im guten Park"),
        ("in", "acc", "Haus", "ins gute Haus"),
        ("zu", "dat", "Schule", "zur guten Schule"),
        ("auf", "dat", "Markt", "auf dem guten Markt"),
    ],
)
def test_preposition_and_article(preposition: str, case: str, lemma: str, expected: str) -> None:
    assert phrase("der", lemma).german(case, preposition) == expected


@pytest.mark.parametrize(
    ("word", "person", "expected"),
    [
        (verb("lesen", "acc"), 1, "liest"),
        (verb("arbeiten", "intr"), 4, "arbeitet"),
        (verb("spielen", "intr"), 0, "spiele"),
        (verb("lächeln", "intr"), 0, "lächle"),
        (verb("wissen", "that"), 0, "weiß"),
        (verb("öffnen", "acc"), 2, "öffnet"),
        (verb("zeichnen", "acc"), 2, "zeichnet"),
    ],
)
def test_present_tense(word: Any, person: int, expected: str) -> None:
    assert german.present(word, person) == expected


def test_participles_of_weak_verbs() -> None:
    weak = ("machen", "arbeiten", "besuchen", "reparieren", "wiederholen", "erzählen")
    assert [german.weak_parts(infinitive)[3] for infinitive in weak] == [
        "gemacht", "gearbeitet", "besucht", "repariert", "wiederholt", "erzählt",
    ]  # fmt: skip
    assert verb("machen", "acc", "auf").participle == "aufgemacht"


def clause(word: Any, tense: str, english_tense: str, **details: Any) -> Any:
    """The old man and the door, with the object as an accusative."""
    man = PLAN.assemble(noun("Mann"), False, "der", "the", [])
    door = PLAN.assemble(noun("Tür"), False, "der", "the", [])
    part = clauses.Part(door.german("acc"), door.english, clauses.ACCUSATIVE, clauses.OBJECT)
    return clauses.Clause(
        man, man, word, word.english[0], tense, english_tense, (part,), **details
    )  # fmt: skip


def test_word_order() -> None:
    """Verb second, first and last; the prefix apart, joined, and around zu; do-support."""
    closes = clause(verb("machen", "acc", "zu"), "present", "present")
    assert clauses.german_main(closes) == "der Mann macht die Tür zu"
    assert clauses.german_main(closes, "heute") == "heute macht der Mann die Tür zu"
    assert clauses.german_question(closes) == "macht der Mann die Tür zu"
    assert clauses.german_subordinate("weil", closes) == "weil der Mann die Tür zumacht"
    assert clauses.german_infinitive("um", closes) == "um die Tür zuzumachen"
    assert clauses.german_request(closes, formal=True) == "machen Sie bitte die Tür zu"
    assert clauses.english_statement(closes) == "the man closes the door"
    assert clauses.english_question(closes) == "does the man close the door"


def test_perfect_modal_and_negation() -> None:
    word = verb("machen", "acc", "zu")
    has_closed = clause(word, "perfect", "past")
    assert clauses.german_main(has_closed) == "der Mann hat die Tür zugemacht"
    assert clauses.german_subordinate("dass", has_closed) == "dass der Mann die Tür zugemacht hat"
    assert clauses.english_question(has_closed) == "did the man close the door"
    must = clause(
        word, "present", "present", modal="müssen", negated=True,
        english_modal=english.NEGATED_MODALS["müssen", "present"][0],
    )  # fmt: skip
    assert clauses.german_main(must) == "der Mann muss die Tür zumachen"  # nicht is a part
    assert clauses.german_subordinate("weil", must) == "weil der Mann die Tür zumachen muss"
    assert clauses.english_statement(must) == "the man does not have to close the door"


def test_articles_and_plurals_in_english() -> None:
    words = ("apple", "university", "honest man", "old house", "hour", "green apple")
    assert [english.with_article(word) for word in words] == [
        "an apple", "a university", "an honest man", "an old house", "an hour", "a green apple",
    ]  # fmt: skip
    assert [english.third_person(base) for base in ("cry", "play", "go", "watch")] == [
        "cries", "plays", "goes", "watches",
    ]  # fmt: skip


def test_every_construction_writes_sentences() -> None:
    for construction, _ in writer.CONSTRUCTIONS:
        plan = planner.Planner(random.Random(3), LEXICON)
        written = 0
        while written < 40:
            try:
                said, text = map(writer.finish, construction(plan))
            except planner.Unsayable:
                continue
            written += 1
            for sentence in (said, text):
                assert sentence[-1] in ".?!" and not sentence[0].islower(), sentence
                assert "  " not in sentence and " ," not in sentence and ",," not in sentence


def small(seed: int) -> dict[str, list[tuple[str, str]]]:
    result: dict[str, list[tuple[str, str]]] = generate_corpus.generate(
        {"test": 80, "valid": 80, "train": 1500}, seed, LEXICON
    )
    return result


def test_corpus_is_the_same_in_another_process(tmp_path: Path) -> None:
    """Also under another hash seed, which changes the order of sets."""
    texts = []
    for hash_seed in ("0", "7"):
        output = tmp_path / hash_seed
        subprocess.run(
            [*MODULE, "examples.translation.demo.generate_corpus", "--output", output,
             "--train", "300", "--valid", "20", "--test", "20"],
            check=True, env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )  # fmt: skip
        texts.append({path.name: path.read_bytes() for path in sorted(output.iterdir())})
    assert texts[0] == texts[1]
    assert sorted(texts[0]) == [
        f"{s}.{lang}" for s in ("test", "train", "valid") for lang in ("de", "en")
    ]
    assert len(texts[0]["train.de"].splitlines()) == 300
    assert small(1)["train"] != small(2)["train"]


def test_held_out_sentences_are_not_in_training() -> None:
    subsets = small(5)
    for side in (0, 1):
        seen = {pair[side] for pair in subsets["train"]}
        for name in ("test", "valid"):
            assert not seen & {pair[side] for pair in subsets[name]}
    assert not {p[0] for p in subsets["test"]} & {p[0] for p in subsets["valid"]}
    for pairs in subsets.values():
        assert len({german for german, _ in pairs}) == len(pairs)


def test_grammar_that_is_exhausted_is_reported() -> None:
    class OneSentence:
        def pair(self) -> tuple[str, str]:
            return "Ja.", "Yes."

    with pytest.raises(generate_corpus.CorpusError, match="only 1 of 2"):
        generate_corpus.draw_pairs(OneSentence(), 2, set(), set())


def test_corpus_refuses_an_output_that_exists(tmp_path: Path) -> None:
    done = subprocess.run(
        [*MODULE, "examples.translation.demo.generate_corpus", "--output", tmp_path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and "exists: delete it first" in done.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [("Mann\tm\tMannes", "nouns.tsv:1: expected 8"), ("A\tx\tA\tA\ta\t-\tperson\t-", "gender 'x'")],
)
def test_malformed_word_list_names_the_line(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "nouns.tsv").write_text(line, encoding="utf-8")
    with pytest.raises(readers.LexiconError, match=message):
        readers.read_nouns(tmp_path / "nouns.tsv")


def record(kind: str, second: int, **values: str) -> str:
    at = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    return f"2024-01-01 {at} | INFO | {kind} | {json.dumps(values)}"


TERMS = {"hidden_loss": "0.07", "attention_loss": "0.002", "output_loss": "0.08"}
LOG = [
    "2024-01-01 00:00:00 | INFO | fairseq_cli.train | num. shared model params: 1,234 (num. ...)",
    "2024-01-01 00:00:01 | INFO | fairseq_cli.train | Start iterating over samples",
    record("train_inner", 10, num_updates="10", **TERMS),
    record("train_inner", 20, num_updates="20", **TERMS),
    record("valid", 20, valid_num_updates="20", valid_nll_loss="3.5"),
    record("train_inner", 40, num_updates="30", **TERMS),
    record("valid", 41, valid_num_updates="30", valid_nll_loss="3.25"),
    record("train", 62, train_num_updates="30"),
]


def write_log(path: Path, lines: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_training_log(tmp_path: Path) -> None:
    again = [record("valid", 41, valid_num_updates="30", valid_nll_loss="3")]
    log = training_log.read_log(write_log(tmp_path / "train.log", LOG[:-1] + again + LOG[-1:]))
    assert log.validation == {20: 3.5, 30: 3.0}
    assert log.terms["output_loss"] == {10: 0.08, 20: 0.08, 30: 0.08}
    assert (log.parameters, log.updates) == (1234, 30)
    assert log.seconds == 61  # since the first batch
    assert (log.seconds_at(20), log.seconds_at(25)) == (19, 40)


def test_training_log_of_a_stopped_training(tmp_path: Path) -> None:
    """No record of a finished epoch: its last line counts. A GPU's memory, too."""
    gpu = "2024-01-01 00:00:00 | INFO | fairseq.utils | rank   0: total memory = 79.000 GB ; name"
    free = record("train_inner", 45, num_updates="40", gb_free="77.5")
    log = training_log.read_log(write_log(tmp_path / "l", [gpu, *LOG[:-1], free]), finished=False)
    assert (log.seconds, log.updates, log.gpu_peak_mib) == (44, 40, 1536)


def test_training_log_of_a_resumed_training(tmp_path: Path) -> None:
    """From update 20, whose checkpoint was there after 19 s; what came after it is forgotten, and
    the break of an hour and the start of the process do not count."""
    resumed = [
        "2024-01-01 01:00:00 | INFO | fairseq_cli.train | num. shared model params: 1,234 (...)",
        "2024-01-01 01:00:05 | INFO | fairseq.trainer | Loaded checkpoint x (epoch 1 @ 20 updates)",
        "2024-01-01 01:00:10 | INFO | fairseq_cli.train | Start iterating over samples",
        record("train_inner", 3620, num_updates="28"),
        "2024-01-01 01:00:25 | INFO | fairseq_cli.train | Start iterating over samples",
        record("train", 3630, train_num_updates="28"),
    ]
    log = training_log.read_log(write_log(tmp_path / "l", LOG[:-1] + resumed))
    assert (log.seconds, log.seconds_at(28)) == (19 + 20, 19 + 20)
    assert log.validation == {20: 3.5} and log.updates == 28
    assert log.terms["output_loss"] == {10: 0.08, 20: 0.08}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (LOG[:4], "validation records, the record of a finished epoch missing"),
        (LOG[1:], "the number of parameters missing"),
        ([*LOG, record("valid", 63, valid_num_updates="40")], "train.log:9: no valid_nll_loss"),
        ([*LOG, record("train_inner", 63, num_updates="?")], "train.log:9: num_updates is '\\?'"),
    ],
)
def test_training_log_with_something_missing(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    with pytest.raises(training_log.LogError, match=message):
        training_log.read_log(write_log(tmp_path / "train.log", lines))


def demo_output(output: Path) -> None:
    """A finished demo with four test sentences, where LR-Drop came out worse."""
    for folder, bleu in (("plain", 41.25), ("lrdrop", 40.5)):
        write_log(output / folder / "train.log", LOG)
        (output / folder / "memory.json").write_text('{"peak_memory_mib": 1000.5}')
        (output / folder / "test").mkdir()
        scores = [
            {"title": "sacreBLEU", "value": bleu, "signature": "nrefs:1|tok:13a"},
            {"title": "chrF", "value": 60.0, "signature": "nrefs:1|nc:6"},
        ]
        (output / folder / "test" / "scores.test.json").write_text(json.dumps({"scores": scores}))
        (output / folder / "test" / "hyp.test.en").write_text("a\nb\nc\nd\n")
    (output / "corpus").mkdir()
    for language in ("de", "en"):
        (output / "corpus" / f"test.{language}").write_text("w\nx\ny\nz\n")


def test_report(tmp_path: Path) -> None:
    demo_output(tmp_path)
    lines = demo_report.build(tmp_path).splitlines()
    assert lines[0].split()[:4] == ["system", "sacreBLEU", "chrF", "parameters"]
    assert lines[2].split() == (
        ["plain", "41.25", "60.00", "1,234", "30", "1,000", "MiB", "61", "s"]
    )
    assert lines[3].split()[:2] == ["LR-Drop", "40.50"]
    assert lines.count("sacreBLEU: nrefs:1|tok:13a") == 1
    assert [line for line in lines if line.startswith("test sentence")] == [
        "test sentence 1", "test sentence 3", "test sentence 4",
    ]  # fmt: skip


def test_report_names_what_is_missing(tmp_path: Path) -> None:
    demo_output(tmp_path)
    scores = tmp_path / "lrdrop" / "test" / "scores.test.json"
    scores.write_text('{"scores": []}')
    with pytest.raises(demo_report.ReportError, match="no sacreBLEU among its scores"):
        demo_report.build(tmp_path)
    scores.unlink()
    with pytest.raises(demo_report.ReportError, match="scores.test.json is missing"):
        demo_report.build(tmp_path)


def test_plots(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    demo_output(tmp_path)
    subprocess.run([*MODULE, "examples.translation.demo.plots", tmp_path], check=True)
    for name in ("validation.png", "lrdrop_terms.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_measured_command_keeps_its_status_and_the_larger_peak(tmp_path: Path) -> None:
    kept = tmp_path / "memory.json"
    measure = [sys.executable, RECORDS / "measure.py", kept, sys.executable, "-c"]
    block = "x = bytearray(200 * 2**20); raise SystemExit(3)"
    assert subprocess.run([*measure, block], check=False).returncode == 3
    peak = json.loads(kept.read_text())["peak_memory_mib"]
    assert 200 < peak < 400
    assert subprocess.run([*measure, "pass"], check=False).returncode == 0
    assert json.loads(kept.read_text())["peak_memory_mib"] == peak


@pytest.mark.parametrize("arguments", [["--updates", "99"], ["--updates"], ["--seed", "1"]])
def test_run_refuses_wrong_arguments(arguments: list[str]) -> None:
    done = subprocess.run(
        [DEMO / "run.sh", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "Usage: examples/translation/demo/run.sh" in done.stderr
