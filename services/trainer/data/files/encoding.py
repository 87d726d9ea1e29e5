"""In which encoding a text file is, told by all of its bytes before any of it is read."""

import codecs
import re

import pyarrow as pa

from trainer.data.files.content import CHUNK, Content
from trainer.errors import DataError

MARKS = {
    codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
WINDOWS = "cp1252"
# What has letters where Windows-1252 has others, and is called how.
LOOKALIKES = {"cp1250": "Windows-1250", "iso8859_2": "Latin-2", "cp1254": "Windows-1254"}
# What a file may be in beside UTF-8 and Windows-1252; it is named, and not assumed.
OTHERS = (
    "cp1250", "cp1251", "cp1253", "cp1254", "cp850", "koi8_r", "mac_roman", "shift_jis", "gb18030", "big5", "euc_kr", "euc_jp",
)  # fmt: skip
# Up to here, as charset-normalizer measures it, words look like words.
MESS = 0.15
ASCII = frozenset(map(chr, range(128)))
FOREIGN = re.compile(r"[^\W\d_]*[^\W\d_\x00-\x7f][^\W\d_]*")
POLISH, SPANISH, ICELANDIC, TURKISH = "ąćęłńóśźż", "áéíñóúü", "áðéíóúýþæö", "çğıöşüâîû"
CENTRAL = (POLISH, "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "čćđšž", "ăâîşţ")
# Letters beyond ASCII in the languages that are written in each of these, which give most bytes to other letters. How seldom
# bytes are, which tells other encodings, says nothing here.
ALPHABETS = {
    WINDOWS: (
        "äöüß", "àâæçéèêëîïôœùûüÿ", SPANISH, "áâãàçéêíóôõúü", "àèéìîòóù", "åäöé", "æøåéòóô", "åäöšž", ICELANDIC, "áéëèíïóöúü",
        "àçèéíïòóúü",
    ),
    "cp1250": CENTRAL,
    "iso8859_2": CENTRAL,
    "cp1254": (TURKISH,),
}  # fmt: skip
# What no word of a language has, which tells those apart whose letters are the same bytes: Spanish ñ is before vowels and Polish
# ń never; Turkish ğ is behind vowels alone, and Icelandic ð behind consonants too.
NEVER = {
    POLISH: re.compile("[ćńśź][aąeęioóuy]"),
    SPANISH: re.compile(r"\wñ$|ñ[^aáeéiíoóuúü]"),
    ICELANDIC: re.compile(r"[cqwz]|\wþ$"),
    TURKISH: re.compile("(?<![aâeiıîoöuûü])ğ"),
}
# No sign stands between two letters.
INSIDE = re.compile(r"[^\W\d_][¹³±¶¼¿¦¯£][^\W\d_]")
# From this share of its words on, a text is of a language.
OF_ONE = 0.9
# What stands behind a word and is no letter, though Unicode has it so: m³, 1ª.
BEHIND = "¹²³ªº"
# Of the lines that are not ASCII, how much is looked at.
MOST_LOOKED_AT = 64 * 1024


def told(content: Content) -> tuple[str, str | None]:
    """Return a text file's encoding, and what to say of it, None where it is UTF-8; `utf-8` where all of it was seen to be.

    Raises DataError where it is no text, or of an encoding that a person has to say.
    """
    with content.open() as file:
        head = file.read(4096)
    if mark := next((mark for mark in MARKS if head.startswith(mark)), None):
        name = MARKS[mark]
        return name, None if name == "utf-8-sig" else name.upper()
    if (wide := _wide(head)) is not None:
        return wide, wide.upper()
    return ("utf-8", None) if _is_utf8(content) else (WINDOWS, _windows(content))


def _wide(head: bytes) -> str | None:
    """Tell UTF-16 without a mark: of mostly ASCII characters every other byte is zero."""
    for name, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        if len(zeros) > 1 and zeros.count(0) > 0.7 * len(zeros) and head.count(0) < 0.6 * len(head):
            return name
    return None


def _is_utf8(content: Content) -> bool:
    """Tell whether all of a file is UTF-8; Arrow sees it in a third of the time that Python takes to decode it.

    Raises DataError where it has zero bytes, which are of no text.
    """
    with content.open() as file:
        while chunk := file.read(CHUNK):
            if b"\0" in chunk:
                raise DataError(f"{content.path} is no text: it has zero bytes")
            if chunk.isascii():
                continue
            try:
                # Up to a line's end, which is a character's too.
                pa.array([chunk + file.readline()], pa.large_binary()).cast(pa.large_string())
            except pa.ArrowInvalid:
                return False
    return True


def _windows(content: Content) -> str:
    """Say that a file that is not UTF-8 is taken for Windows-1252; raise DataError where it looks like another one."""
    good, bad = _foreign_lines(content)
    number, line = next(iter(bad.items()))
    if good:
        raise DataError(
            f"{content.path} is in UTF-8 but for line {number} ({_shown(line)}) and others like it; mend these, or say what all of "
            "it is in: --encoding cp1252"
        )
    text = b"\n".join(bad.values())
    if other := _lookalike(text):
        raise DataError(
            f"{content.path} is not in UTF-8; it looks like {LOOKALIKES[other]} (line {number} has {_shown(line, other)}) rather than "
            f"Windows-1252 ({_shown(line, WINDOWS)}); say which: --encoding {other}, or --encoding {WINDOWS}"
        )
    if not _is_western(text):
        from charset_normalizer import from_bytes

        better = from_bytes(text, cp_isolation=list(OTHERS), threshold=1.0).best()
        looks = "say what it is in: --encoding NAME"
        if better is not None:
            looks = f"it looks like {better.encoding}: --encoding {better.encoding}"
        raise DataError(f"{content.path} is neither in UTF-8 nor in Windows-1252; {looks}")
    return f"Windows-1252 (line {number} has {_shown(line, WINDOWS)})"


def _is_western(text: bytes) -> bool:
    """Tell whether text can be in Windows-1252: whether its words with letters beyond ASCII look like words."""
    try:
        words = " ".join(FOREIGN.findall(text.decode(WINDOWS))).encode(WINDOWS)
    except UnicodeDecodeError:
        return False
    from charset_normalizer import from_bytes

    found = from_bytes(words, cp_isolation=[WINDOWS], threshold=1.0).best() if words else None
    return not words or (found is not None and found.chaos <= MESS)


def _lookalike(text: bytes) -> str | None:
    """Return in which encoding text that can be in Windows-1252 rather is, by the language that it is of then; None for none."""
    western, usual = text.decode(WINDOWS, "replace"), _share(text, WINDOWS)
    others = (name for name in LOOKALIKES if text.decode(name, "replace") != western)
    # Polish has letters where Windows-1252 has signs, and Turkish a few that are Icelandic there.
    as_good = {"cp1254", *(["iso8859_2"] if INSIDE.search(western) else [])}
    shares = {
        name: share
        for name in others
        if (share := _share(text, name)) >= OF_ONE and (share > usual or (name in as_good and share == usual))
    }
    # Where one has a sign the other has a letter, and words have letters.
    return max(shares, key=lambda name: (shares[name], _letters(text, name)), default=None)


def _letters(text: bytes, encoding: str) -> int:
    return sum(map(str.isalpha, text.decode(encoding, "replace")))


def _share(text: bytes, encoding: str) -> float:
    """Return how many words with letters beyond ASCII may be of one language, the one with the most of an encoding's."""
    found = FOREIGN.findall(text.decode(encoding, "replace").replace("İ", "i").lower())  # which is two characters else
    words = [word.rstrip(BEHIND) for word in found]
    fitting = (sum(_may_be(word, alphabet) for word in words) for alphabet in ALPHABETS[encoding])
    return max(fitting) / len(words) if words else 1.0


def _may_be(word: str, alphabet: str) -> bool:
    """Tell whether a word has no letters beyond ASCII but those of a language, and none where the language never has it."""
    has_its_letters = (set(filter(str.isalpha, word)) - ASCII).issubset(alphabet)
    return has_its_letters and not (alphabet in NEVER and NEVER[alphabet].search(word))


def _foreign_lines(content: Content) -> tuple[int, dict[int, bytes]]:
    """Return how many lines are UTF-8 and not ASCII, and the first of those that are not UTF-8 under their numbers."""
    good, bad, number, looked_at = 0, {}, 0, 0
    with content.open() as file:
        while line := file.readline(CHUNK):
            number += 1
            if line.isascii():
                continue
            try:
                line.decode("utf-8")
                good += 1
            except UnicodeDecodeError:
                bad[number] = line.strip()[:MOST_LOOKED_AT]
            looked_at += len(line)
            if bad and looked_at > MOST_LOOKED_AT:
                break
    return good, bad


def _shown(line: bytes, encoding: str | None = None) -> str:
    """Show the first word of a line that is not ASCII, or its first byte where nobody knows what that means."""
    at = next(place for place, byte in enumerate(line) if byte >= 0x80)
    if encoding is None:
        return f"byte 0x{line[at]:02x}"
    before, after = line[max(0, at - 20) : at], line[at : at + 20]
    return repr((before + after).decode(encoding, "replace").strip())
