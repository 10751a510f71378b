"""Known answers: RFC 9380's for the map, and a whole run made by the second implementation in tests/vectors."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.core import multi_buffer
from protocols.core.errors import LocalMisuse
from protocols.core.randomness import SeededRandomness
from protocols.psi import PsiDigests, PsiOpen, PsiPoints, PsiReceiver, PsiSender, elligator, hash_ids
from protocols.psi.curve import Scalar, multiply
from protocols.psi.encode import encode_to_curve, expand_messages, map_to_curve
from protocols.psi.messages import PsiResult
from tests.protocols.psi.helpers import run_psi
from tests.vectors import make_psi

DST = b"a tag of a test"

# RFC 9380, appendix K.6: message, length, uniform bytes
EXPANDER_DST = b"QUUX-V01-CS02-with-expander-SHAKE256"
EXPANSIONS = [
    (b"", 32, "2ffc05c48ed32b95d72e807f6eab9f7530dd1c2f013914c8fed38c5ccc15ad76"),
    (b"abc", 32, "b39e493867e2767216792abce1f2676c197c0692aed061560ead251821808e07"),
    (b"abcdef0123456789", 32, "245389cf44a13f0e70af8665fe5337ec2dcd138890bb7901c4ad9cfceb054b65"),
    (b"q128_" + b"q" * 128, 32, "719b3911821e6428a5ed9b8e600f2866bcf23c8f0515e52d6c6c019a03f16f0e"),
    (b"a512_" + b"a" * 512, 32, "9181ead5220b1963f1b5951f35547a5ea86a820562287d6ca4723633d17ccbbc"),
    (
        b"abc",
        128,
        "a54303e6b172909783353ab05ef08dd435a558c3197db0c132134649708e0b9b4e34fb99b92a9e9e28fc1f1d8860d858"
        "97a8e021e6382f3eea10577f968ff6df6c45fe624ce65ca25932f679a42a404bc3681efe03fcd45ef73bb3a8f79ba784"
        "f80f55ea8a3c367408f30381299617f50c8cf8fbb21d0f1e1d70b0131a7b6fbe",
    ),
]

# RFC 9380, appendix J.4.2: u, Q.x, P.x. The suite there expands otherwise; the map is the same.
MAPPED = [
    (
        "608d892b641f0328523802a6603427c26e55e6f27e71a91a478148d45b5093cd",
        "51125222da5e763d97f3c10fcc92ea6860b9ccbbd2eb1285728f566721c1e65b",
        "1bb913f0c9daefa0b3375378ffa534bda5526c97391952a7789eb976edfe4d08",
    ),
    (
        "46f5b22494bfeaa7f232cc8d054be68561af50230234d7d1d63d1d9abeca8da5",
        "7d56d1e08cb0ccb92baf069c18c49bb5a0dcd927eff8dcf75ca921ef7f3e6eeb",
        "7c22950b7d900fa866334262fcaea47a441a578df43b894b4625c9b450f9a026",
    ),
    (
        "235fe40c443766ce7e18111c33862d66c3b33267efa50d50f9e8e5d252a40aaa",
        "3fbe66b9c9883d79e8407150e7c2a1c8680bee496c62fabe4619a72b3cabe90f",
        "31ad08a8b0deeb2a4d8b0206ca25f567ab4e042746f792f4b7973f3ae2096c52",
    ),
    (
        "001e92a544463bda9bd04ddbe3d6eed248f82de32f522669efc5ddce95f46f5b",
        "227e0bb89de700385d19ec40e857db6e6a3e634b1c32962f370d26f84ff19683",
        "027877759d155b1997d0d84683a313eb78bdb493271d935b622900459d52ceaa",
    ),
]


@pytest.fixture(params=["fast", "plain"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to hash and to multiply points; where there is no fast one, "fast" is whatever the machine has."""
    monkeypatch.setenv(multi_buffer.SWITCH, "1" if request.param == "plain" else "0")


@pytest.mark.parametrize(("message", "length", "uniform"), EXPANSIONS, ids=lambda value: str(value)[:8])
def test_rfc_9380_expands(message: bytes, length: int, uniform: str) -> None:
    assert expand_messages(EXPANDER_DST, [message], length) == [bytes.fromhex(uniform)]


@pytest.mark.parametrize(("u", "q", "p"), MAPPED, ids=lambda value: str(value)[:8])
def test_rfc_9380_maps(u: str, q: str, p: str) -> None:
    assert map_to_curve([mpz(u, 16)]) == [int(q, 16)]
    assert map_in_the_library([int(u, 16)]) in ([int(q, 16)], None)
    doubled = int(q, 16)  # the module leaves the cofactor to the scalar; here P = 8 Q by three doublings
    for _ in range(3):
        doubled = double(doubled)
    assert doubled == int(p, 16)


@pytest.mark.usefixtures("path")
def test_the_second_implementation_encodes_the_same() -> None:
    messages = [b"", b"abc", b"q" * 128, b"q" * 1024]
    points = [make_psi.encode(message, DST).to_bytes(32, "little") for message in messages]
    assert encode_to_curve(DST, messages) == b"".join(points)


def double(u: int) -> int:
    """u([2] P) on Curve25519."""
    prime = make_psi.P
    return (u * u - 1) ** 2 * pow(4 * u * (u * u + make_psi.A * u + 1), -1, prime) % prime


@pytest.mark.usefixtures("path")
def test_the_batch_is_the_messages_one_by_one() -> None:
    messages = [message for message, *_ in EXPANSIONS] * 3
    single = b"".join(encode_to_curve(DST, [message]) for message in messages)
    assert encode_to_curve(DST, messages) == single
    assert encode_to_curve(DST, []) == b""


def test_the_second_implementation_agrees_on_many_fields() -> None:
    random = SeededRandomness(1, "elligator")
    fields = [int.from_bytes(random.bytes(32), "little") % make_psi.P for _ in range(50)]
    fields += [0, 1, 2, make_psi.P - 1, (make_psi.P - 1) // 2]
    assert map_to_curve(fields) == [make_psi.elligator2(field) for field in fields]


def map_in_the_library(numbers: list[int]) -> list[int] | None:
    """u-coordinates for numbers below 2^384; None where there is no multi-buffer field."""
    field = multi_buffer.field25519()
    if field is None:
        return None
    mapped = elligator.map_many(field, b"".join(number.to_bytes(48, "big") for number in numbers))
    return [int.from_bytes(mapped[at : at + 32], "little") for at in range(0, len(mapped), 32)]


def edges() -> list[int]:
    """Numbers at which a carry or a reduction could go wrong: around multiples of p, limbs and words."""
    centres = [multiple * make_psi.P for multiple in (0, 1, 2, 19, 2**128, 2**129 - 1)]
    centres += [1 << bit for bit in (*range(52, 384, 52), *range(64, 384, 64), 255, 384)]
    centres.append((make_psi.P - 1) // 2)
    near = {centre + step for centre in centres for step in range(-3, 4)}
    return sorted(number for number in near if 0 <= number < 1 << 384)


def test_the_library_maps_edges_as_the_second_implementation() -> None:
    expected = [make_psi.elligator2(number % make_psi.P) for number in edges()]
    assert map_in_the_library(edges()) in (expected, None)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, (1 << 384) - 1), max_size=30))
def test_the_library_maps_as_the_plain_path(numbers: list[int]) -> None:
    assert map_in_the_library(numbers) in (map_to_curve([mpz(number) % make_psi.P for number in numbers]), None)


def test_batches_of_the_library_join(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = list(range(1, 30))
    whole = map_in_the_library(numbers)
    monkeypatch.setattr(elligator, "BATCH", 8)
    assert map_in_the_library(numbers) == whole


def test_a_wrong_power_is_found() -> None:
    field = multi_buffer.field25519()
    if field is None:
        return

    wrong = SimpleNamespace(multiply=field.multiply, square=field.square, power=field.square)
    with pytest.raises(LocalMisuse, match="wrong power"):
        elligator.map_many(wrong, bytes(47) + b"\2")  # type: ignore[arg-type]


def test_a_library_that_maps_wrongly_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    if multi_buffer.field25519() is None:
        return
    monkeypatch.setattr(elligator, "map_many", lambda field, uniform: bytes(32 * (len(uniform) // 48)))
    with pytest.raises(LocalMisuse, match=multi_buffer.SWITCH):
        encode_to_curve(DST, [b"a", b"b"])


@pytest.mark.usefixtures("path")
def test_multiply_equals_the_ladder_and_cryptography() -> None:
    random = SeededRandomness(2, "ladder")
    scalar = Scalar(random)
    points = encode_to_curve(DST, [bytes([i]) for i in range(11)])
    key = X25519PrivateKey.from_private_bytes(scalar.value)
    products = multiply(scalar, points)
    for at in range(0, len(points), 32):
        point = points[at : at + 32]
        assert products[at : at + 32] == key.exchange(X25519PublicKey.from_public_bytes(point))
        ladder = make_psi.x25519(scalar.value, int.from_bytes(point, "little"))
        assert products[at : at + 32] == ladder.to_bytes(32, "little")


def test_the_file_is_what_its_generator_makes() -> None:
    assert json.loads(make_psi.FILE.read_text(encoding="ascii")) == make_psi.make()


@pytest.mark.usefixtures("path")
def test_the_product_reproduces_the_file() -> None:
    vector = json.loads(make_psi.FILE.read_text(encoding="ascii"))
    pair, chunk = bytes.fromhex(vector["pair"]), vector["chunk"]
    host_ids, collaborator_ids = vector["host_ids"], vector["collaborator_ids"]
    host = PsiReceiver(hash_ids(pair, host_ids), SeededRandomness(1, "psi host"), chunk=chunk)
    collaborator = PsiSender(hash_ids(pair, collaborator_ids), SeededRandomness(1, "psi collaborator"), chunk=chunk)
    run = run_psi(host, collaborator)

    def points(key: str) -> list[PsiPoints]:
        return [PsiPoints(i, bytes.fromhex(text)) for i, text in enumerate(vector[key])]

    digests = [PsiDigests(i, bytes.fromhex(text)) for i, text in enumerate(vector["digests"])]
    result = PsiResult(bytes.fromhex(vector["result"]), len(vector["host_learns"]))
    assert run.from_host == [PsiOpen(len(host_ids), chunk, pair), *points("host_points"), result]
    opening = PsiOpen(len(collaborator_ids), chunk, pair)
    assert run.from_collaborator == [opening, *points("collaborator_points"), *digests]
    assert sorted(run.host_learns) == vector["host_learns"]
    assert sorted(run.collaborator_learns) == vector["collaborator_learns"]
