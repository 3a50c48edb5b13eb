"""Makes ``deployments/acme/customers.csv``: 1,000 people who do not exist, and rows with faults.

Addresses are at example.com, .org and .net (RFC 2606). Numbers vary the last digits of the example
numbers that phonenumbers documents, or of ranges set aside for fiction; still, point this tenant
at nothing but a simulator.

Run ``python -m ignition_ext.devtools.sample_audience FILE`` to write it anew.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from random import Random

import phonenumbers
from phonenumbers import PhoneNumberFormat

COLUMNS = (
    *("email", "phone", "first_name", "last_name", "locale", "timezone", "country", "city"),
    *("plan", "renewal_date", "amount", "currency", "account_id"),
)
SEED = 20_261_121
PEOPLE_EACH = 50
"""For each of the 20 countries: 1,000 recipients."""
DUPLICATES = 26
GAPS = 53
"""One in so many has each kind of gap; a prime, so that gaps wander through the countries."""
FIRST_RENEWAL = date(2026, 12, 1)
_ARABIC_DIGITS = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
_WIDE_DIGITS = str.maketrans("0123456789", "０１２３４５６７８９")


@dataclass(frozen=True, slots=True)
class _Country:
    """``number`` is a country code and a national number, short of its last three digits.

    Names are written ``native=romanised``.
    """

    region: str
    locale: str
    timezone: str
    currency: str
    number: str
    cities: str
    first: str
    last: str


_COUNTRIES = (
    _Country(
        *("US", "en", "America/New_York", "USD", "12025550", "Washington|New York|Boston"),
        "Zoë=zoe José=jose Grace=grace Noah=noah Ava🌻=ava Renée=renee Ethan=ethan",
        "O'Brien=obrien Smith-Jones=smith.jones Nguyễn=nguyen Peña=pena Walker=walker",
    ),
    _Country(
        *("GB", "en-GB", "Europe/London", "GBP", "447400123", "London|Leeds|Cardiff"),
        "Siân=sian Niamh=niamh Oliver=oliver Chloë=chloe Rhys=rhys Isla💌=isla",
        "Ó Súilleabháin=osullivan Brontë=bronte Clarke=clarke Llewellyn=llewellyn Patel=patel",
    ),
    _Country(
        *("DE", "de", "Europe/Berlin", "EUR", "4915123456", "Berlin|München|Köln"),
        "Jürgen=juergen Käthe=kaethe Günther=guenther Anneliese=anneliese Sören=soeren",
        "Müller=mueller Groß=gross Schröder=schroeder Weiß=weiss Größler=groessler",
    ),
    _Country(
        *("TR", "tr", "Europe/Istanbul", "TRY", "905012345", "İstanbul|Ankara|İzmir"),
        "Çağla=cagla Şükrü=sukru İpek=ipek Gökçe=gokce Oğuz=oguz Işıl=isil",
        "Yılmaz=yilmaz Öztürk=ozturk Güneş=gunes Şahin=sahin Çelik=celik",
    ),
    _Country(
        *("EG", "ar", "Africa/Cairo", "EGP", "201001234", "القاهرة|الإسكندرية|الجيزة"),
        "نور=nour أحمد=ahmed فاطمة=fatma يوسف=youssef ليلى=layla كريم=karim",
        "حسن=hassan السيد=elsayed إبراهيم=ibrahim منصور=mansour فؤاد=fouad",
    ),
    _Country(
        *("SA", "ar", "Asia/Riyadh", "SAR", "966512345", "الرياض|جدة|الدمام"),
        "سارة=sara خالد=khalid ريم=reem فيصل=faisal هند=hind ماجد=majed",
        "العتيبي=alotaibi القحطاني=alqahtani الزهراني=alzahrani الحربي=alharbi الغامدي=alghamdi",
    ),
    _Country(
        *("JP", "ja", "Asia/Tokyo", "JPY", "819012345", "東京|大阪|札幌"),
        "さくら=sakura 健太=kenta 美咲=misaki 翔=sho ゆい=yui ケン=ken",
        "佐藤=sato 鈴木=suzuki 髙橋=takahashi 渡邊=watanabe 伊藤=ito",
    ),
    _Country(
        *("RU", "ru", "Europe/Moscow", "RUB", "79123456", "Москва|Казань|Санкт-Петербург"),
        "Анна=anna Дмитрий=dmitri Алёна=alyona Сергей=sergei Юлия=yulia Пётр=pyotr",
        "Иванова=ivanova Щукин=shchukin Соловьёв=solovyov Жуков=zhukov Цветаева=tsvetaeva",
    ),
    _Country(
        *("GR", "el", "Europe/Athens", "EUR", "306912345", "Αθήνα|Θεσσαλονίκη|Πάτρα"),
        "Ελένη=eleni Γιώργος=giorgos Σοφία=sofia Νίκος=nikos Χρυσάνθη=chrysanthi",
        "Παπαδόπουλος=papadopoulos Γεωργίου=georgiou Βασιλείου=vasiliou Ξενάκης=xenakis",
    ),
    _Country(
        *("IN", "hi", "Asia/Kolkata", "INR", "918123456", "दिल्ली|मुंबई|जयपुर"),
        "प्रिया=priya अर्जुन=arjun श्रेया=shreya विक्रम=vikram आदित्य=aditya",
        "शर्मा=sharma सिंह=singh अग्रवाल=agarwal त्रिपाठी=tripathi वर्मा=verma",
    ),
    _Country(
        *("BR", "pt-BR", "America/Sao_Paulo", "BRL", "5511961234", "São Paulo|Brasília|Belém"),
        "João=joao Conceição=conceicao Antônio=antonio Luísa=luisa Tainá=taina",
        "Gonçalves=goncalves Araújo=araujo Simões=simoes Magalhães=magalhaes Assunção=assuncao",
    ),
    _Country(
        *("FR", "fr", "Europe/Paris", "EUR", "33612345", "Paris|Orléans|Nîmes"),
        "François=francois Élodie=elodie Noël=noel Maëlle=maelle Gwenaël=gwenael",
        "Lefèvre=lefevre D'Alembert=dalembert Béranger=beranger Le Goff=legoff Curœur=curoeur",
    ),
    _Country(
        *("ES", "es", "Europe/Madrid", "EUR", "34612345", "Madrid|A Coruña|Cádiz"),
        "Íñigo=inigo Begoña=begona Martín=martin Lucía=lucia Núria=nuria",
        "Muñoz=munoz Ibáñez=ibanez García=garcia Peñalver=penalver Güell=guell",
    ),
    _Country(
        *("MX", "es-MX", "America/Mexico_City", "MXN", "522221234", "Ciudad de México|Mérida"),
        "Ximena=ximena Ángel=angel Sofía=sofia Andrés=andres Xóchitl=xochitl",
        "Hernández=hernandez Núñez=nunez Zúñiga=zuniga Ramírez=ramirez Ordóñez=ordonez",
    ),
    _Country(
        *("CN", "zh", "Asia/Shanghai", "CNY", "8613123456", "北京|上海|成都"),
        "伟=wei 芳=fang 秀英=xiuying 子涵=zihan 浩然=haoran 雨桐=yutong",
        "王=wang 李=li 欧阳=ouyang 张=zhang 吕=lv",
    ),
    _Country(
        *("IL", "he", "Asia/Jerusalem", "ILS", "972502345", "תל אביב|ירושלים|חיפה"),
        "נועה=noa יוסף=yosef תמר=tamar איתן=eitan שירה=shira",
        "כהן=cohen לוי=levi מזרחי=mizrahi פרץ=peretz ביטון=biton",
    ),
    _Country(
        *("KR", "ko", "Asia/Seoul", "KRW", "821020000", "서울|부산|인천"),
        "민준=minjun 서연=seoyeon 지우=jiwoo 하은=haeun 도윤=doyun",
        "김=kim 이=lee 박=park 최=choi 남궁=namgung",
    ),
    _Country(
        *("TH", "th", "Asia/Bangkok", "THB", "66812345", "กรุงเทพฯ|เชียงใหม่|ภูเก็ต"),
        "สมชาย=somchai กัญญา=kanya อนันต์=anan ศิริพร=siriporn ปรีชา=preecha",
        "ใจดี=jaidee ศรีสุข=srisuk ทองดี=thongdee วงศ์ใหญ่=wongyai แก้วมณี=kaewmanee",
    ),
    _Country(
        *("PL", "pl", "Europe/Warsaw", "PLN", "48512345", "Kraków|Łódź|Gdańsk"),
        "Łukasz=lukasz Małgorzata=malgorzata Święcimir=swiecimir Żaneta=zaneta Paweł=pawel",
        "Wójcik=wojcik Dąbrowska=dabrowska Kowalczyk=kowalczyk Źródłowski=zrodlowski",
    ),
    _Country(
        *("UA", "uk", "Europe/Kyiv", "UAH", "380501234", "Київ|Львів|Одеса"),
        "Олена=olena Тарас=taras Їжакевич=yizhakevych Ганна=hanna Євген=yevhen",
        "Шевченко=shevchenko Ґонта=gonta Коваленко=kovalenko Бондар=bondar",
    ),
)
_PLANS = ("free", "pro", "team")
_WITHOUT_DECIMALS = frozenset({"JPY", "KRW"})


def _number(digits: str, form: int) -> str:
    """The number in one of the forms that people write."""
    number = phonenumbers.parse(f"+{digits}")
    written: Sequence[Callable[[], str]] = (
        lambda: f"+{digits}",
        lambda: phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL),
        lambda: phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL),
        lambda: f"00{digits}",
        lambda: phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL).replace("-", "."),
        lambda: phonenumbers.format_number(number, PhoneNumberFormat.RFC3966),
    )
    return written[form % len(written)]()


def _digits(country: _Country, index: int) -> str:
    return f"{country.number}{100 + (index * 7) % 100:03d}"


def _person(country: _Country, place: int, index: int, random: Random) -> dict[str, str]:
    first, first_roman = random.choice(_pairs(country.first)).split("=")
    last, last_roman = random.choice(_pairs(country.last)).split("=")
    serial = place * PEOPLE_EACH + index + 1
    domain = ("example.com", "example.org", "example.net")[serial % 3]
    phone = _number(_digits(country, index), index)
    if country.locale == "ar" and index % 6 == 2:
        phone = phone.translate(_ARABIC_DIGITS)
    if country.region == "JP" and index % 12 == 2:
        phone = phone.translate(_WIDE_DIGITS)
    cents = random.randrange(500, 99_900)
    whole = country.currency in _WITHOUT_DECIMALS
    return {
        "email": f"{first_roman}.{last_roman}{serial}@{domain}",
        "phone": phone,
        "first_name": first,
        "last_name": last,
        "locale": country.locale,
        "timezone": country.timezone,
        "country": country.region,
        "city": random.choice(country.cities.split("|")),
        "plan": random.choice(_PLANS),
        "renewal_date": (FIRST_RENEWAL + timedelta(days=random.randrange(365))).isoformat(),
        "amount": str(cents) if whole else f"{cents / 100:.2f}",
        "currency": country.currency,
        "account_id": f"AC-{serial:06d}",
    }


def _pairs(names: str) -> list[str]:
    """``Le Goff=legoff Curœur=curoeur`` into its pairs: a native name may hold a space."""
    pairs, native = [], []
    for word in names.split(" "):
        native.append(word)
        if "=" in word:
            pairs.append(" ".join(native))
            native = []
    return pairs


def _with_gaps(person: dict[str, str], serial: int) -> dict[str, str]:
    """Some have one address only, or one of the two is wrong: they are recipients all the same."""
    match serial % GAPS:
        case 7 | 23:
            return person | {"phone": ""}
        case 31:
            return person | {"email": ""}
        case 41:
            return person | {"phone": "12345"}
        case 47:
            return person | {"email": person["email"].replace("@", " at ")}
        case 13 if serial % 2:
            return person | {"timezone": "Mars/Olympus"}
        case _:
            return person


def _duplicate(person: dict[str, str], digits: str, form: int) -> dict[str, str]:
    """The same addresses, written in another way."""
    name, _, domain = person["email"].partition("@")
    return person | {
        "email": f"{name.title()}@{domain.upper()}" if form % 2 else f" {person['email']} ",
        "phone": _number(digits, form),
        "first_name": person["first_name"].upper(),
    }


def _bad_rows(person: dict[str, str]) -> list[dict[str, str]]:
    """Rows that make no recipient."""
    addresses = (
        *(("", ""), ("not-an-address", ""), ("@example.com", ""), ("two@@example.com", "")),
        *(("dot.@example.com", ""), ("a..b@example.net", ""), ("space in@example.org", "")),
        *(("no-domain@", ""), ("local@localhost", ""), ("late@example..com", "")),
        *(("under@exa_mple.com", ""), ("long" * 20 + "@example.com", ""), ("n/a", "n/a")),
        *(("", "12"), ("", "+49 30 123456 ext. 7"), ("", "4.91712E+11"), ("", "call me")),
        *(("", "+999 123456789"), ("", "0900 1234567"), ("=1+2", "=3+4"), ("-", "-")),
        *(("<ann@example.com>", ""), ("ann@example.com;bob@example.com", "")),
    )
    return [person | {"email": email, "phone": phone} for email, phone in addresses]


def sample_csv() -> str:
    """The whole file; the same each time."""
    random = Random(SEED)
    rows: list[Sequence[str]] = []
    complete: list[tuple[dict[str, str], str]] = []
    for index in range(PEOPLE_EACH):
        for place, country in enumerate(_COUNTRIES):
            person = _person(country, place, index, random)
            shown = _with_gaps(person, index * len(_COUNTRIES) + place)
            if shown is person:
                complete.append((person, _digits(country, index)))
            rows.append(list(shown.values()))
    for form, (person, digits) in enumerate(random.sample(complete, DUPLICATES)):
        rows.append(list(_duplicate(person, digits, form).values()))
    german = next(person for person, _ in complete if person["country"] == "DE")
    bad: list[Sequence[str]] = [list(row.values()) for row in _bad_rows(german)]
    bad += [list(german.values())[:9], [*german.values(), "one too many"]]
    # Duplicates follow what they repeat; bad rows stand anywhere.
    for row in bad:
        rows.insert(random.randrange(len(rows)), row)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return text.getvalue()


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(sample_csv(), encoding="utf-8", newline="\n")
