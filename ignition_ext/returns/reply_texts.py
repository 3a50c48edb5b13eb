"""What keywords are answered with, unless a tenant has texts of its own. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ignition_ext.returns.keywords import Keyword

DEFAULT_LANGUAGE = "en"
TEXTS: Mapping[Keyword, Mapping[str, str]] = {
    Keyword.STOP: {
        "en": "{tenant}: you will get no more text messages from us. Reply START to get them"
        " again.",
        "de": "{tenant}: Sie erhalten keine SMS mehr von uns. Mit START melden Sie sich wieder an.",
        "fr": "{tenant} : vous ne recevrez plus de SMS de notre part. Répondez START pour en"
        " recevoir à nouveau.",
        "es": "{tenant}: no recibirá más SMS nuestros. Responda START para volver a recibirlos.",
        "pt": "{tenant}: não receberá mais SMS nossos. Responda START para voltar a receber.",
        "it": "{tenant}: non riceverà più SMS da noi. Risponda START per riceverli di nuovo.",
        "nl": "{tenant}: u ontvangt geen sms meer van ons. Antwoord START om ze weer te ontvangen.",
        "tr": "{tenant}: artık bizden SMS almayacaksınız. Yeniden almak için START yazın.",
        "pl": "{tenant}: nie otrzymasz od nas więcej SMS-ów. Odpisz START, aby znów je dostawać.",
        "sv": "{tenant}: du får inga fler sms från oss. Svara START för att få dem igen.",
    },
    Keyword.START: {
        "en": "{tenant}: you will get text messages from us again. Reply STOP to end them.",
        "de": "{tenant}: Sie erhalten wieder SMS von uns. Mit STOP melden Sie sich ab.",
        "fr": "{tenant} : vous recevrez à nouveau nos SMS. Répondez STOP pour les arrêter.",
        "es": "{tenant}: volverá a recibir nuestros SMS. Responda STOP para darse de baja.",
        "pt": "{tenant}: voltará a receber os nossos SMS. Responda STOP para cancelar.",
        "it": "{tenant}: riceverà di nuovo i nostri SMS. Risponda STOP per non riceverli più.",
        "nl": "{tenant}: u ontvangt weer sms van ons. Antwoord STOP om ze te stoppen.",
        "tr": "{tenant}: yeniden SMS alacaksınız. Almamak için STOP yazın.",
        "pl": "{tenant}: znów będziesz otrzymywać nasze SMS-y. Odpisz STOP, aby zrezygnować.",
        "sv": "{tenant}: du får sms från oss igen. Svara STOP för att sluta få dem.",
    },
    Keyword.HELP: {
        "en": "{tenant}: reply STOP to get no more text messages from us, START to get them again.",
        "de": "{tenant}: Mit STOP erhalten Sie keine SMS mehr von uns, mit START wieder.",
        "fr": "{tenant} : répondez STOP pour ne plus recevoir nos SMS, START pour les recevoir à"
        " nouveau.",
        "es": "{tenant}: responda STOP para no recibir más SMS, START para volver a recibirlos.",
        "pt": "{tenant}: responda STOP para não receber mais SMS, START para voltar a receber.",
        "it": "{tenant}: risponda STOP per non ricevere più SMS, START per riceverli di nuovo.",
        "nl": "{tenant}: antwoord STOP om geen sms meer te ontvangen, START om ze weer te"
        " ontvangen.",
        "tr": "{tenant}: SMS almamak için STOP, yeniden almak için START yazın.",
        "pl": "{tenant}: odpisz STOP, aby nie otrzymywać SMS-ów, START, aby znów je dostawać.",
        "sv": "{tenant}: svara STOP för att inte få fler sms, START för att få dem igen.",
    },
}


def default_text(keyword: Keyword, language: str, tenant: str) -> str:
    """The built-in answer in that language, in English where it is none of the ten."""
    texts = TEXTS[keyword]
    return texts.get(language, texts[DEFAULT_LANGUAGE]).replace("{tenant}", tenant)
