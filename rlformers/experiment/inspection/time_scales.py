"""How long linear recurrences remember."""

import numpy as np


def time_scales(eigenvalues: np.ndarray) -> np.ndarray:
    """Steps after which a state has decayed by a factor of e, -1 / log|λ|; infinite where it does not decay."""
    with np.errstate(divide="ignore"):
        logs = np.log(np.abs(eigenvalues).astype(float))
    return np.where(logs < 0, -1 / np.where(logs < 0, logs, -1), np.inf)
