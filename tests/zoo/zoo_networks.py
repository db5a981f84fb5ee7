"""The zoo: one small network per structural pattern, with widths that can be checked by hand.

Every function of the files named here builds one; ``PATTERNS`` says which channels of it can be removed, and what of
it must be refused.
"""

from __future__ import annotations

import zoo_attention
import zoo_computed
import zoo_concatenation
import zoo_grouped
import zoo_inputs
import zoo_layers
import zoo_norms
import zoo_parameters
import zoo_plain
import zoo_sequences
import zoo_sharing
import zoo_shortcuts
import zoo_stated
import zoo_transformers
import zoo_windows
import zoo_written

THEMES = (
    zoo_plain,
    zoo_shortcuts,
    zoo_grouped,
    zoo_concatenation,
    zoo_norms,
    zoo_attention,
    zoo_transformers,
    zoo_windows,
    zoo_layers,
    zoo_sequences,
    zoo_sharing,
    zoo_written,
    zoo_stated,
    zoo_inputs,
    zoo_parameters,
    zoo_computed,
)
PATTERNS = tuple(pattern for theme in THEMES for pattern in theme.PATTERNS)
