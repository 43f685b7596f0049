"""Writes a small corpus of news reports and their summaries, made of phrases at random.

    news_corpus.py --output DIR [--train 4000] [--valid 200] [--test 200] [--seed 1]

Each report opens with what happened where and when, goes on with background in varying order, and
says somewhere how many people were affected. The summary says what happened, and to how many
people: so both must be found in the text, and put into other words.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass
from pathlib import Path

PLACES = (
    "Ashford Brackley Calder Dunmore Eastvale Fernhill Glenbrook Hartwell Ivybridge Kestrel "
    "Larkhall Marlow Northam Oakley Penrith Ravenswood Selby Thornbury Upton Westbury"
).split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
NUMBERS = "two three four five six seven eight nine ten eleven twelve twenty thirty forty".split()


@dataclass(frozen=True)
class Event:
    """A kind of event: the text's two sentences, and the summary's."""

    lead: str
    affected: str
    headline: str
    outcome: str


EVENTS = (
    Event(
        "Heavy rain flooded the centre of {place} on {day} morning.",
        "Firefighters brought {number} people to safety in boats.",
        "A flood hit {place} on {day}.",
        "{number} people were rescued.",
    ),
    Event(
        "A fire broke out in a warehouse in {place} late on {day}.",
        "Doctors treated {number} workers who had breathed in smoke.",
        "A warehouse burned in {place} on {day}.",
        "{number} workers were treated.",
    ),
    Event(
        "The town council of {place} voted on {day} to build a new school.",
        "The plan will create {number} jobs for teachers.",
        "{place} decided on {day} to build a school.",
        "{number} teachers will be hired.",
    ),
    Event(
        "A bus left the road near {place} on {day} evening.",
        "An ambulance took {number} passengers to hospital.",
        "A bus crashed near {place} on {day}.",
        "{number} passengers were hurt.",
    ),
    Event(
        "The museum of {place} opened its new wing on {day}.",
        "It shows the work of {number} painters from the region.",
        "The museum of {place} has been larger since {day}.",
        "{number} local painters are shown.",
    ),
    Event(
        "Thieves broke into a jewellery shop in {place} on {day} night.",
        "Officers later arrested {number} suspects at the border.",
        "A shop in {place} was robbed on {day}.",
        "{number} suspects were caught.",
    ),
)
BACKGROUND = (
    "Traffic in the area was slow for several hours.",
    "The mayor thanked everybody who had helped.",
    "Local radio had reported about it early in the day.",
    "Nothing of the kind had happened there for many years.",
    "People who live nearby said they were surprised.",
    "A spokeswoman said that more would be known next week.",
    "The weather is expected to stay mild until the weekend.",
    "Several shops in the main street stayed closed.",
    "A public meeting will be held in the town hall.",
    "Experts from the county are looking into the matter.",
)


def report(rng: random.Random) -> tuple[str, list[str]]:
    """A report and the sentences of its summary."""
    event = rng.choice(EVENTS)
    words = {"place": rng.choice(PLACES), "day": rng.choice(DAYS), "number": rng.choice(NUMBERS)}
    later = rng.sample(BACKGROUND, rng.randint(1, 3))
    later.insert(rng.randrange(len(later) + 1), event.affected.format(**words))
    text = " ".join([event.lead.format(**words), *later])
    outcome = event.outcome.format(number=words["number"].capitalize())
    return text, [event.headline.format(**words), outcome]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--train", type=int, default=4000)
    parser.add_argument("--valid", type=int, default=200)
    parser.add_argument("--test", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    rng = random.Random(options.seed)
    for split, count in {
        "train": options.train,
        "val": options.valid,
        "test": options.test,
    }.items():
        reports = [report(rng) for _ in range(count)]
        sources = "".join(f"{text}\n" for text, _ in reports)
        targets = "".join("\t".join(sentences) + "\n" for _, sentences in reports)
        (options.output / f"{split}.source").write_text(sources, encoding="utf-8")
        (options.output / f"{split}.target").write_text(targets, encoding="utf-8")


if __name__ == "__main__":
    main()
