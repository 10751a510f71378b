"""Layers whose keys are made once for all tests, and what their parties say of them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from protocols.he.paillier_parameters import PAILLIER_2048
from protocols.he.parameters import TRAINING, TRIPLES
from protocols.layer.frozen import FrozenCollaborator, FrozenHost
from protocols.layer.interface import LayerSpec
from protocols.layer.parameters import LayerParameters
from protocols.schemes.encrypted.collaborator import EncryptedCollaborator
from protocols.schemes.encrypted.host import EncryptedHost
from protocols.schemes.masked.collaborator import MaskedCollaborator
from protocols.schemes.masked.host import MaskedHost
from protocols.schemes.registry import registered_scheme
from tests.protocols.he.kept_keys import KeptBfv, KeptPaillier

BOUNDS = LayerParameters(check_every=2, test_shares_every=1)
MASKED_BOUNDS = replace(BOUNDS, test_shares_every=1 << 29)
"""No coin: of batches of four rows a test takes ten products. First openings, and what checkpoints are made of, are
tested."""


def parameters_of(scheme: str) -> str:
    """What both parties say of their scheme."""
    layer = json.loads((MASKED_BOUNDS if scheme == "masked" else BOUNDS).canonical())
    names = {"bfv": ("encryption", TRAINING), "paillier": ("encryption", PAILLIER_2048), "masked": ("triples", TRIPLES)}
    if scheme not in names:
        return ""
    key, chosen = names[scheme]
    return json.dumps({key: chosen.name, "layer": layer})


def layer_ends(scheme: str, spec: LayerSpec, pair: int) -> tuple[Any, Any]:
    """Both parties' ends of a layer. Their keys are the pair of this number, made once."""
    ends = scheme_ends(scheme, spec, pair)
    return ends if spec.trainable else (FrozenHost(spec, ends[0]), FrozenCollaborator(spec, ends[1]))


def scheme_ends(scheme: str, spec: LayerSpec, pair: int) -> tuple[Any, Any]:
    """The same; every row crosses, also of a frozen bottom model."""
    if scheme not in ("bfv", "masked", "paillier"):
        known = registered_scheme(scheme)
        return known.host(spec), known.collaborator(spec)
    if scheme == "masked":
        triples = KeptBfv(TRIPLES, pair)
        return MaskedHost(spec, triples, MASKED_BOUNDS), MaskedCollaborator(spec, triples, MASKED_BOUNDS)
    backend: Any = KeptPaillier(pair) if scheme == "paillier" else KeptBfv(pair=pair)
    return EncryptedHost(spec, backend, BOUNDS), EncryptedCollaborator(spec, backend, BOUNDS)
