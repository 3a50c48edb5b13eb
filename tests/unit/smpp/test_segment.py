"""Texts become parts: right characters, right sizes, least number, nothing torn."""

from __future__ import annotations

import re
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.channels.smpp.alphabets import DEFAULT, EXTENSION
from ignition_ext.channels.smpp.encoding import GSM7, Alphabet, encoders
from ignition_ext.channels.smpp.graphemes import clusters, is_boundary
from ignition_ext.channels.smpp.segment import Segmented, TextRefused, segment

BASIC = DEFAULT.replace("\x1b", "")
gsm_texts = st.text(st.sampled_from(BASIC + "".join(EXTENSION)), min_size=1, max_size=700)
ucs2_texts = st.text(
    st.one_of(
        st.sampled_from("aşğ😀👩\u200d\ufe0f\U0001f3fd🇩🇪\u0301\r\n"),
        st.characters(exclude_categories=["Cs"], exclude_characters="\x1b"),
    ),
    min_size=1,
    max_size=300,
)


def payloads(done: Segmented) -> list[bytes]:
    """Each part without its header, cut off as a handset does."""
    if not done.has_header:
        return list(done.parts)
    return [part[part[0] + 1 :] for part in done.parts]


def decoded(done: Segmented) -> list[str]:
    """Each part as a handset reads it alone, by tables written down here."""
    if done.data_coding == 8:
        return [octets.decode("utf-16-be") for octets in payloads(done)]
    back = {code: char for char, code in EXTENSION.items()}
    texts = []
    for octets in payloads(done):
        tokens = re.findall(rb"\x1b.|[^\x1b]", octets, re.DOTALL)
        assert b"".join(tokens) == octets, "a lone escape"
        texts.append("".join(back[t[1]] if len(t) == 2 else DEFAULT[t[0]] for t in tokens))
    return texts


def fewest_parts(costs: list[int], limit: int) -> int:
    """The least number of parts, by trying all cuts (dynamic programming over every one)."""
    best = [0] + [10**9] * len(costs)
    for end in range(1, len(costs) + 1):
        size = 0
        for start in range(end - 1, -1, -1):
            size += costs[start]
            if size > limit:
                break
            best[end] = min(best[end], best[start] + 1)
    return best[-1]


@given(gsm_texts)
def test_gsm_parts_join_to_the_text_within_their_limits(text: str) -> None:
    """No part is longer than 160 or 153 septets, none tears an escape from its partner."""
    done = segment(text, max_parts=255)

    assert "".join(decoded(done)) == text == "".join(done.texts)
    assert decoded(done) == list(done.texts)
    limit = 153 if len(done.parts) > 1 else 160
    assert all(len(octets) <= limit for octets in payloads(done))
    assert done.unit_limit == limit


@given(ucs2_texts)
def test_ucs2_parts_join_to_the_text_within_their_limits(text: str) -> None:
    """No part is longer than 70 or 67 code units, each decodes by itself."""
    done = segment(text, alphabet="ucs2", max_parts=255)

    assert "".join(decoded(done)) == text
    limit = 67 if len(done.parts) > 1 else 70
    assert all(len(octets) <= 2 * limit for octets in payloads(done))


@given(ucs2_texts.filter(lambda text: not GSM7.fits(text)))
def test_ucs2_takes_the_fewest_parts(text: str) -> None:
    """Each part is paid for: preferring whole clusters never costs one."""
    done = segment(text, max_parts=255)

    costs = [2 if char > "\uffff" else 1 for char in text]
    assert len(done.parts) == (1 if sum(costs) <= 70 else fewest_parts(costs, 67))


@given(gsm_texts)
def test_gsm_takes_the_fewest_parts(text: str) -> None:
    """Counted in septets, with the extension at two."""
    costs = [2 if char in EXTENSION else 1 for char in text]
    expected = 1 if sum(costs) <= 160 else fewest_parts(costs, 153)

    assert len(segment(text, max_parts=255).parts) == expected


def filled(pieces: list[str], limit: int) -> list[str]:
    """Put one after the other where it still fits; a piece larger than a part is cut anywhere."""
    parts, room = [""], limit
    for piece in pieces:
        for atom in piece if cost_of(piece) > limit else [piece]:
            if cost_of(atom) > room:
                parts.append("")
                room = limit
            parts[-1] += atom
            room -= cost_of(atom)
    return parts


def cost_of(text: str) -> int:
    return len(text.encode("utf-16-be")) // 2


@given(ucs2_texts)
def test_clusters_stay_whole_where_that_costs_no_part(text: str) -> None:
    """Of the cuttings with the fewest parts the one that keeps clusters, if there is one."""
    done = segment(text, alphabet="ucs2", max_parts=255)

    if len(done.parts) > 1:
        fewest, whole = filled(list(text), 67), filled(list(clusters(text)), 67)
        assert list(done.texts) == (whole if len(whole) == len(fewest) else fewest)


@given(ucs2_texts)
def test_a_boundary_is_where_a_cluster_begins(text: str) -> None:
    """Found by looking back a little as by going through all of the text."""
    starts = set(accumulate(map(len, clusters(text))))

    for index in range(1, len(text)):
        assert is_boundary(text, index) == (index in starts)


@given(ucs2_texts)
def test_clusters_join_to_the_text(text: str) -> None:
    """The cluster splitter loses nothing and makes nothing up."""
    assert "".join(clusters(text)) == text
    assert all(clusters_ for clusters_ in clusters(text))


@pytest.mark.parametrize(
    "cluster",
    ["👩‍👩‍👧‍👦", "🇩🇪", "👍🏽", "e\u0301\u0323", "❤️", "🏴\U000e0067\U000e0062\U000e007f", "\r\n"],
)
def test_a_cluster_is_one(cluster: str) -> None:
    """What a reader sees as one character is one cluster, also beside its like."""
    assert list(clusters(f"a{cluster}{cluster}b")) == ["a", cluster, cluster, "b"]


@pytest.mark.parametrize(
    ("text", "parts", "units"),
    [
        ("a" * 160, 1, 160),
        ("a" * 161, 2, 161),
        ("a" * 158 + "€", 1, 160),
        ("a" * 159 + "€", 2, 161),
        ("a" * 152 + "€" + "b" * 20, 2, 174),
        ("€" * 153, 3, 306),
        ("a" * 152 + "€" * 77, 3, 306),
        ("ş" * 70, 1, 70),
        ("ş" * 71, 2, 71),
        ("ş" * 66 + "😀" + "b" * 10, 2, 78),
        ("😀" * 35, 1, 70),
        ("😀" * 67, 3, 134),
        ("a" * 306, 2, 306),
        ("a" * 307, 3, 307),
    ],
)
def test_known_edges(text: str, parts: int, units: int) -> None:
    """The cases that smpplib's splitter tears or miscounts, and the edges around them."""
    done = segment(text)

    assert (len(done.parts), done.units) == (parts, units)
    assert "".join(decoded(done)) == text


def test_an_escape_is_not_torn_from_its_partner() -> None:
    """152 letters and a euro: the euro moves to the second part whole."""
    first, second = payloads(segment("a" * 152 + "€" + "b" * 20))

    assert first == b"a" * 152
    assert second == b"\x1be" + b"b" * 20


def test_a_family_stays_together() -> None:
    """A ZWJ emoji at the edge of a part moves to the next one whole."""
    family = "👩‍👩‍👧‍👦"
    done = segment("ş" * 62 + family + "ş" * 20)

    assert done.texts == ("ş" * 62, family + "ş" * 20)


def test_a_cluster_larger_than_a_part_is_cut_by_code_points() -> None:
    """A letter with a hundred marks does not fit; no surrogate is torn, nothing is lost."""
    text = "ş" + "\u0301" * 100
    done = segment(text)

    assert "".join(decoded(done)) == text
    assert len(done.parts) == 2


@pytest.mark.parametrize(
    ("alphabet", "wide", "char", "alone", "each"),
    [
        ("gsm7", False, "a", 160, 153),
        ("gsm7", True, "a", 160, 152),
        ("ucs2", False, "a", 70, 67),
        ("ucs2", True, "a", 70, 66),
        ("latin1", False, "a", 140, 134),
        ("latin1", True, "a", 140, 133),
        ("gsm7-turkish", False, "ş", 155, 149),
        ("gsm7-turkish", True, "ş", 155, 148),
        ("gsm7-turkish-locking", False, "ş", 152, 146),
        ("gsm7-turkish-locking", True, "ş", 152, 145),
    ],
)
def test_sizes(alphabet: str, wide: bool, char: str, alone: int, each: int) -> None:
    """The sizes of TS 23.040, with either width of reference."""
    cost = encoders(Alphabet(alphabet))[-2 if alphabet != "ucs2" else 0].units(char)
    single = segment(char * (alone // cost), alphabet=alphabet, wide_reference=wide)
    double = segment(char * (alone // cost + 1), alphabet=alphabet, wide_reference=wide)

    assert (len(single.parts), single.unit_limit) == (1, alone)
    assert (len(double.parts), double.unit_limit) == (2, each)
    assert all(len(part) <= 160 for part in double.parts)


def test_headers_number_the_parts() -> None:
    """Element 0x00 with reference, total and number; 0x08 with a wide reference."""
    narrow = segment("a" * 400, reference=0x1FE)
    wide = segment("a" * 400, reference=0x1FE, wide_reference=True)

    assert [part[:6].hex() for part in narrow.parts] == [
        "050003fe0301",
        "050003fe0302",
        "050003fe0303",
    ]
    assert [part[:7].hex() for part in wide.parts] == [
        "06080401fe0301",
        "06080401fe0302",
        "06080401fe0303",
    ]


def test_single_parts_have_no_header() -> None:
    """A user data header where none is needed would cost seven characters."""
    done = segment("Hello")

    assert (done.has_header, done.parts) == (False, (b"Hello",))


def test_form_feed_is_gsm() -> None:
    """U+000C is in the extension table; it must not make the whole text UCS-2."""
    done = segment("a\fb")

    assert (done.encoding, done.parts) == ("gsm7", (b"a\x1b\x0ab",))


@pytest.mark.parametrize("text", ["a\x1be", "\x1b", "half \ud83d pair", "\udc00"])
def test_what_would_harm_the_handset_is_refused(text: str) -> None:
    """A raw escape changes the next character, half a surrogate pair is no character."""
    with pytest.raises(TextRefused):
        segment(text)


def test_too_many_parts_are_refused_by_the_cap() -> None:
    """The default cap stops a runaway template; 255 is the most that a header can count."""
    with pytest.raises(TextRefused, match="11 parts"):
        segment("a" * 1531)
    assert len(segment("a" * 39_015, max_parts=255).parts) == 255
    with pytest.raises(TextRefused, match="256 parts"):
        segment("a" * 39_016, max_parts=300)


def test_typography_is_left_alone_unless_asked_for() -> None:
    """What arrives equals what was rendered, unless the operator says otherwise."""
    text = "“Hi” – it’s…\u00a0on"

    assert segment(text).texts == (text,)
    assert segment(text).encoding == "ucs2"
    plain = segment(text, replace_typography=True)
    assert (plain.encoding, plain.texts) == ("gsm7", ('"Hi" - it\'s... on',))


def test_typography_stays_when_the_rest_needs_ucs2_anyway() -> None:
    """Replacing would lose something and gain nothing."""
    text = "“Hi” 😀"

    assert segment(text, replace_typography=True).texts == (text,)


def test_names_keep_their_accents() -> None:
    """No letter becomes another one: Zoë stays Zoë, at the price of UCS-2."""
    assert segment("Zoë Şahin", replace_typography=True).texts == ("Zoë Şahin",)


@pytest.mark.parametrize(
    ("alphabet", "text", "encoding"),
    [
        ("gsm7", "İyi günler", "ucs2"),
        ("gsm7-turkish", "İyi günler", "gsm7-turkish"),
        ("gsm7-turkish", "plain", "gsm7"),
        ("gsm7-turkish", "Привет", "ucs2"),
        ("gsm7-spanish", "¿Qué tal, Álvaro?", "gsm7-spanish"),
        ("gsm7-portuguese-locking", "Olá, São João", "gsm7-portuguese-locking"),
        ("latin1", "Zoë", "latin1"),
        ("latin1", "Zoë €", "ucs2"),
    ],
)
def test_the_cheapest_alphabet_that_fits_is_taken(alphabet: str, text: str, encoding: str) -> None:
    """Plain GSM first, then the national table, UCS-2 last."""
    assert segment(text, alphabet=alphabet).encoding == encoding


def test_parts_are_filled_in_order() -> None:
    """A part begins where the one before ended, and only the last may be short."""
    done = segment("abc " * 200)

    assert all(len(one) == 153 for one in done.texts[:-1])
    assert all(a + b in "abc " * 200 for a, b in pairwise(done.texts))
