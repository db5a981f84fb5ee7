"""The state of a training: a digest, and what torch.save wrote behind it."""

from __future__ import annotations

import hashlib
from typing import Any

from hypothesis import strategies as st

from fuzz import values
from fuzz.formats.torch_files import Pickled, tensors_and_classes
from fuzz.trees import Aims

DIGEST = hashlib.sha256().digest_size


class TrainingState(Pickled):
    """The objects in it; the digest is made right again."""

    def read(self, content: bytes) -> Any:
        """Load what is behind the digest."""
        return super().read(content[DIGEST:])

    def write(self, tree: Any) -> bytes:
        """Save it, with the digest of whatever it is."""
        body = super().write(tree)
        return hashlib.sha256(body).digest() + body

    def aims(self) -> Aims:
        """What the training goes on with."""
        return (
            ("run/.*", st.one_of(tensors_and_classes(), values.hostile())),
            ("course|settings|format", values.hostile()),
        )
