"""Facts of the Unicode CLDR, by way of the library Babel, worded in each locale's own names.

Four kinds of fact, each with one right answer and answers of the same kind to choose wrong ones from:

    currency    ¤ Nigeria → Nigerian Naira          the one legal tender of a territory today
    language    🗣 Brazil → Portuguese               the one official language of a territory
    month       November + 2 months → January       the order of the months
    weekday     Friday + 3 days → Monday            the order of the days

Every word is CLDR's for that locale; what holds the words together is signs, so that no sentence was
translated by hand. A territory with several current currencies or official languages states no fact,
nor does an item for which one of the asked locales has no name of its own.
Source: https://cldr.unicode.org, in the version that the installed Babel carries (`CLDR_VERSION`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from babel import Locale, UnknownLocaleError
from babel.core import get_global

from calgrid.errors import UserError

CLDR_VERSION: str = get_global("cldr")["version"]
OFFICIAL = ("official", "de_facto_official")
STEPS = (1, 2, 3)  # a month or day question goes this many ahead
UNITS = {"month": "duration-month", "weekday": "duration-day"}
SIGNS = {"currency": "¤", "language": "🗣"}


class Fact(NamedTuple):
    """One fact in CLDR's codes: the same fact in every language."""

    subject: str  # currency, language, month or weekday
    key: str  # a territory code, or the number of a month (1..12) or day (0 = Monday)
    steps: int  # 0, or how many months or days ahead
    answer: str  # a currency or language code, or a number as in `key`


@dataclass(frozen=True)
class Wording:
    """A locale's names, by subject and code, and its patterns for a number of months or days."""

    language: str
    locale: Locale
    names: dict[str, dict[str, str]]  # subject -> code of an answer -> name; "territory" -> code -> name

    def key(self, fact: Fact) -> str:
        return self.names[fact.subject if fact.steps else "territory"][fact.key]

    def answer(self, fact: Fact) -> str:
        return self.names[fact.subject][fact.answer]

    def options(self, subject: str, answers: Sequence[str]) -> list[str]:
        return [self.names[subject][answer] for answer in answers]

    def question(self, fact: Fact) -> str:
        """The fact with a question mark in the place of its answer."""
        return self._sentence(fact, "?")

    def statement(self, fact: Fact) -> str:
        return self._sentence(fact, self.answer(fact))

    def _sentence(self, fact: Fact, answer: str) -> str:
        if not fact.steps:
            return f"{SIGNS[fact.subject]} {self.key(fact)} → {answer}"
        return f"{self.key(fact)} + {self.duration(fact)} → {answer}"

    def duration(self, fact: Fact) -> str:
        """The fact's steps in words: 2 months."""
        # Not babel.units.format_unit: where a locale has the short pattern alone, it gives back the unit's code,
        # although CLDR's root says that the long pattern falls back to the short one.
        patterns = self.locale._data["unit_patterns"][UNITS[fact.subject]]
        plural = self.locale.plural_form(fact.steps)
        for length in ("long", "short"):
            pattern = patterns.get(length, {}).get(plural) or patterns.get(length, {}).get("other")
            if pattern:
                return pattern.format(fact.steps)
        raise UserError(f"language {self.language!r}: CLDR has no pattern for {UNITS[fact.subject]}; leave it out")


@cache
def wording(language: str) -> Wording:
    """The names that CLDR has for `language`, an ISO 639 code.

    Raises UserError for a language that Babel does not know or that has no names of months.
    """
    try:
        locale = Locale.parse(language)
    except (UnknownLocaleError, ValueError) as error:
        raise UserError(f"language {language!r}: {error}; choose one that CLDR has a locale for") from None
    # The "format" names only: in Babel 2.18 the "stand-alone" ones of a locale without its own can be
    # those of another locale, whichever was loaded first.
    months, days = locale.months["format"]["wide"], locale.days["format"]["wide"]
    if months[1] == "M01" or days[0] == "Mon":  # the root locale's
        raise UserError(f"language {language!r}: CLDR has no names of months and days for it; leave it out")
    names = {
        "territory": dict(locale.territories),
        "currency": dict(locale.currencies),
        "language": dict(locale.languages),
        "month": {str(number): months[number] for number in range(1, 13)},
        "weekday": {str(number): days[number] for number in range(7)},
    }
    # A name equal to its code is a missing translation.
    return Wording(language, locale, {k: {c: n for c, n in v.items() if n and n != c} for k, v in names.items()})


def territory_currencies() -> dict[str, str]:
    """Territory -> its currency, for the territories with exactly one legal tender today."""
    found = {}
    for territory, entries in get_global("territory_currencies").items():
        current = [code for code, _, until, tender in entries if until is None and tender]
        if len(current) == 1:
            found[territory] = current[0]
    return found


def territory_languages() -> dict[str, str]:
    """Territory -> its language, for the territories with exactly one official language."""
    found = {}
    for territory, entries in get_global("territory_languages").items():
        official = [code for code, entry in entries.items() if entry["official_status"] in OFFICIAL]
        if len(official) == 1:
            found[territory] = official[0]
    return found


def arguable_answers(fact: Fact) -> set[str]:
    """Answers that may not stand as wrong options: ever used or spoken in the territory, whatever the status."""
    if fact.subject == "currency":
        return {entry[0] for entry in get_global("territory_currencies")[fact.key]}
    if fact.subject == "language":
        return set(get_global("territory_languages")[fact.key])
    return {fact.answer}


def facts(languages: Sequence[str]) -> list[Fact]:
    """The facts that can be worded in all `languages`, in a fixed order.

    The territories are those with both a currency and a language by the rules above. An item whose name some
    locale lacks or shares with another item of its kind is left out: options must differ in every language.
    """
    currencies, spoken = territory_currencies(), territory_languages()
    territories = sorted(currencies.keys() & spoken.keys() & _distinct("territory", set(currencies), languages))
    usable_currencies = _distinct("currency", set(currencies.values()), languages)
    usable_languages = _distinct("language", set(spoken.values()), languages)
    found = [Fact("currency", t, 0, currencies[t]) for t in territories if currencies[t] in usable_currencies]
    found += [Fact("language", t, 0, spoken[t]) for t in territories if spoken[t] in usable_languages]
    found += [Fact("month", str(m + 1), n, str((m + n) % 12 + 1)) for m in range(12) for n in STEPS]
    found += [Fact("weekday", str(d), n, str((d + n) % 7)) for d in range(7) for n in STEPS]
    return found


def _distinct(subject: str, codes: set[str], languages: Sequence[str]) -> set[str]:
    """Those of `codes` that every language has a name for, used for no other of them."""
    left = set(codes)
    for language in languages:
        names = wording(language).names[subject]
        uses = Counter(names.get(code, "").casefold() for code in codes)
        left &= {code for code in codes if code in names and uses[names[code].casefold()] == 1}
    return left
