"""Private set intersection by ECDH over Curve25519. The diagram: receiver.py; who learns what: messages.py."""

from protocols.psi.encode import pair_id
from protocols.psi.hashed import HashedIds, hash_checked, hash_ids
from protocols.psi.ids import MAX_ID_BYTES, MAX_IDS, check_ids, normal_form
from protocols.psi.messages import PSI_CHUNK, PsiDigests, PsiOpen, PsiPoints, PsiResult
from protocols.psi.receiver import PsiReceiver
from protocols.psi.sender import PsiSender
from protocols.psi.transitions import COLLABORATOR_SENDS, HOST_SENDS

__all__ = [
    "COLLABORATOR_SENDS",
    "HOST_SENDS",
    "MAX_IDS",
    "MAX_ID_BYTES",
    "PSI_CHUNK",
    "HashedIds",
    "PsiDigests",
    "PsiOpen",
    "PsiPoints",
    "PsiReceiver",
    "PsiResult",
    "PsiSender",
    "check_ids",
    "hash_checked",
    "hash_ids",
    "normal_form",
    "pair_id",
]
