"""What has the shape of a credential goes, ordinary words stay, and no text takes long."""

from __future__ import annotations

import pytest

from proxy.content.masks import PRESENTED, is_secret_name, masked, shapes

BASE = shapes()
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nabc+/=\n-----END RSA PRIVATE KEY-----"

CREDENTIALS = [
    "sk-proj-abcdefghijklmnop1234",
    "hg-abcdefgh-abcdefghijklmnopqrstuvwxyz",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "github_pat_11ABCDEFG0abcdefghij_klmnop",
    "xoxb-123456789012-abcdefgh",
    "AKIAIOSFODNN7EXAMPLE",
    "AIzaSyA-abcdefghijklmnopqrstuvwxyz01234",
    "glpat-abcdefghij0123456789",
    "nvapi-abcdefghij0123456789abcdef",
    JWT,
    PEM,
]


@pytest.mark.parametrize("credential", CREDENTIALS)
@pytest.mark.parametrize("around", ["{}", 'it is "{}".', "KEY={}\nand so on", "https://x/?k={}&b=1", "a,{};b"])
def test_a_credential_is_gone_wherever_it_stands(credential: str, around: str) -> None:
    text = masked(around.format(credential), BASE)
    assert credential not in text
    assert not any(part in text for part in (credential[8:24], credential[-12:]))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Authorization: Bearer abcdefghijkl.mnop", "Bearer"),
        ('password = "hunter2hunter2"', ""),
        ('{\\"api_key\\": \\"abc123456789\\"}', ""),
        ("DB_PASSWORD=correct-horse-battery", ""),
        ("aws_secret_access_key = hunter2/K7MDENG", ""),
        ("SECRET_KEY='hunter2hunter2'", ""),
        ("passphrase: hunter2hunter2", ""),
        ("postgres://admin:tr0ub4dor@db.example/x", "db.example/x"),
        ("Cookie: session=0123456789abcdef; theme=dark\nHost: a", "Host: a"),
        ("set-cookie: id=0123456789abcdef", ""),
        ("-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg", ""),
    ],
)
def test_what_is_called_a_secret_is_gone_and_what_follows_stays(text: str, left: str) -> None:
    found = masked(text, BASE)
    secrets = ("mnop", "hunter2", "abc123456789", "horse", "tr0ub4dor", "0123456789abcdef", "MIIEvQIBADANBg")
    assert not any(secret in found for secret in secrets), found
    assert left.removeprefix("Bearer") in found


NAMED = [
    "password = ~",
    "secret = ~",
    "password: '~'",
    "x-api-key: ~",
    "api-key=~",
    "api key: ~",
    "the PASSWORD is ~",
    "AWS_SECRET_ACCESS_KEY=~",
    "SECRET_KEY=django-insecure-~",
    "AZURE_KEY=~",
    "AccountKey=~;",
    "HF_TOKEN=~",
    "token: ~",
    "pwd=~",
    "DB_PASS=~",
    '{"password":"~","nested":{"api_key":"~","secret_key":"~"}}',
    '{"password": "~ and more ~"}',
    r"say {\"password\": \"~ ~\"}",
    r"{\\\"token\\\":\\\"a\\\\\\\"~\\\"}",
    '"api_keys": ["~", "~"]',
    '"password": ~}',
    "**Password:** ~",
    "`password`: `~ ~`",
    'os.environ["API_KEY"] = "~"',
    "Authorization: Bearer ~",
    'torn: {"password": "~ ~',
]


@pytest.mark.parametrize("text", NAMED)
@pytest.mark.parametrize("secret", ["s3cr3t", "5", "zz9-plural"])
def test_what_has_the_name_of_a_secret_is_gone_however_short(text: str, secret: str) -> None:
    assert secret not in masked(text.replace("~", secret), BASE)


def test_what_stands_beside_a_secret_stays() -> None:
    text = '{"user": "jo", "password": "p q", "city": "Rome", "max_tokens": 100}'
    assert masked(text, BASE) == '{"user": "jo", "[credential]", "city": "Rome", "max_tokens": 100}'


@pytest.mark.parametrize(
    "text",
    [
        '"max_tokens": 100, "tokens": 5, "token_count": 7',
        '"secret": true, "api_key": null, "password": ""',
        '"password": {"type": "string"}',
        "The password is required. An api key is a text; the secret is out.",
        "primary_key = id, key: value, compass: north, secretary: Jo",
        "The sk-learn library has a task-runner; risk-averse agents ask-and-tell.",
        "Tokens: 1234, max_tokens: 4096, the secret of a good key is rhythm.",
        "Order 20261123-000042 costs $12.50, see https://example.org/a/b?c=d",
        "base64 is an encoding; eyJ is how JSON begins in it",
        "cookies and cream",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    assert masked(text, BASE) == text


def test_mail_and_phone_are_masked_only_where_that_is_wanted() -> None:
    text = "Write to jo.doe+x@mail.example.org or call +49 (30) 1234-5678 or 030 1234567."
    assert masked(text, BASE) == text
    assert masked(text, shapes(("mail",))) == text.replace("jo.doe+x@mail.example.org", "[mail]")
    assert masked(text, shapes(("mail", "phone"))) == "Write to [mail] or call [phone] or [phone]."


def test_days_and_amounts_are_no_phone_numbers() -> None:
    text = "On 2026-11-23 at 10:15:00 we sold 12345678 of them for 1,234.56"
    assert masked(text, shapes(("phone",))) == text


def test_a_text_that_came_as_a_key_goes_whatever_its_shape_and_even_alone() -> None:
    assert masked("open sesame, please", (), ("open sesame",)) == f"{PRESENTED}, please"
    assert masked("sk-proj-abcdefghijklmnop1234", ()) == "sk-proj-abcdefghijklmnop1234"


@pytest.mark.parametrize(
    "name", ["api_key", "apiKey", "Authorization", "client_secret", "db-password", "access_token", "token", "AZURE_KEY"]
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["tokens", "max_tokens", "token_count", "key", "azure_key", "secretary", "content"])
def test_names_of_other_things(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "piece",
    [
        *("eyJ", "eyJ-", "sk-", "-----BEGIN PRIVATE KEY-----", "cookie", "a@", "a.", "://a:", "api_key", "+1 ", "0 "),
        *("a-", "password:'", "token: [", "password is ", "secret\\\\", "TOKEN:", "_key", "token=bearer "),
    ],
)
def test_no_text_takes_more_than_its_length(piece: str) -> None:
    """Counted in sizes that would take minutes if it took their square."""
    every = shapes(("mail", "phone"))
    text = piece * (400_000 // len(piece))
    assert len(masked(text, every)) <= 2 * len(text)
