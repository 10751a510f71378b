"""The scheme registry: built-in schemes, entry points of other packages, and what is refused."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from benchmarks.harness.known_messages import MESSAGE_TYPES
from protocols.core.errors import InvalidInput
from protocols.he import engines
from protocols.layer.parameters import LayerParameters
from protocols.schemes import registry
from protocols.schemes.plain.scheme import Plain
from secure_hfl import schemes
from secure_hfl.errors import ConfigurationError
from secure_hfl.schemes import GROUP, load_scheme, register_scheme, scheme_names

PLUG_IN = """
from secure_hfl.schemes import register_scheme
from protocols.schemes.plain.scheme import Plain

@register_scheme("{registers}")
class Mine(Plain):
    '''A scheme of another package.'''
"""


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A package on the path that the entry-point group names as the scheme "mine"."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    points = EntryPoints([EntryPoint("mine", "mine_scheme", GROUP)])
    monkeypatch.setattr(schemes, "entry_points", lambda **chosen: points.select(**chosen))
    monkeypatch.delitem(sys.modules, "mine_scheme", raising=False)
    return tmp_path / "mine_scheme.py"


def test_every_built_in_scheme_loads_and_names_its_messages() -> None:
    for name in ("bfv", "masked", "paillier", "plain"):
        scheme = load_scheme(name)
        assert scheme.name == name
        assert set(scheme.messages()) <= set(MESSAGE_TYPES)
        assert scheme.is_plaintext == (name == "plain")
        assert scheme.needs_projection == (name != "plain")


def test_a_scheme_of_another_package_is_found_by_its_entry_point(installed: Path) -> None:
    installed.write_text(PLUG_IN.format(registers="mine"))
    assert "mine" in scheme_names()
    assert type(load_scheme("mine")).__name__ == "Mine"
    assert load_scheme("mine").name == "mine"


def test_an_entry_point_that_registers_nothing_is_refused(installed: Path) -> None:
    installed.write_text("")
    with pytest.raises(ConfigurationError, match=r"no scheme 'mine'"):
        load_scheme("mine")


def test_a_name_belongs_to_one_scheme(installed: Path) -> None:
    installed.write_text(PLUG_IN.format(registers="plain"))
    load_scheme("plain")
    with pytest.raises(InvalidInput, match=r"already registered by protocols\.schemes\.plain\.scheme"):
        load_scheme("mine")


def test_an_unknown_scheme_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="known: bfv, masked, paillier, plain"):
        load_scheme("rot13")


def test_registering_the_same_class_again_changes_nothing() -> None:
    assert register_scheme("plain")(Plain) is Plain


def test_a_collaborator_takes_either_packing_and_says_what_seal_loses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(engines.SWITCH, "1")
    scheme = load_scheme("bfv")
    unpacked, packed, small = scheme.accepted_parameters()
    assert unpacked == scheme.parameters()
    assert scheme.encryption(small) == "bfv-8192-144b-small, up to 32 sums in a reply"
    assert (scheme.encryption(unpacked), scheme.caution()) == ("bfv-8192-144b-unpacked, a reply for each sum", "")
    scheme.adopt(packed)
    assert scheme.parameters() == packed
    assert "The host chose bfv-8192-144b, up to 16 sums in a reply; with SEAL" in scheme.caution()
    with pytest.raises(InvalidInput, match="does not run with these parameters"):
        scheme.adopt(load_scheme("paillier").parameters())
    monkeypatch.delenv(engines.SWITCH)
    assert (scheme.caution() == "") == engines.is_built()


def test_a_collaborator_makes_triples_with_either_packing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(engines.SWITCH, "1")
    scheme = load_scheme("masked")
    unpacked, packed = scheme.accepted_parameters()
    assert unpacked == scheme.parameters()
    assert "bfv-8192-188b" in packed
    scheme.adopt(packed)
    assert scheme.parameters() == packed


def test_parameters_name_what_both_sides_must_share() -> None:
    texts = {name: load_scheme(name).parameters() for name in ("bfv", "masked", "paillier", "plain")}
    assert len(set(texts.values())) == 4
    assert "8.0" in texts["bfv"]
    with pytest.raises(InvalidInput):
        LayerParameters(feature_norm=1024.0)
