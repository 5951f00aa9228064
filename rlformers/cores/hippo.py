"""State matrices that project the past onto polynomials (HiPPO, Gu et al. 2020), computed once in float64."""

import numpy as np


def hippo_eigenbasis(P: int, blocks: int, conj_sym: bool) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (P',) and eigenvectors (P, P') of the normal part of HiPPO-LegS, in `blocks` diagonal blocks.

    The normal part is A + p pᵀ with A_nk = -√((2n+1)(2k+1)) below the diagonal, -(n+1) on it, and p_n = √(n+1/2);
    its real part is -1/2 on the diagonal and skew elsewhere, hence one Hermitian eigenproblem (S5, section 3.2).
    With `conj_sym` only the half with negative imaginary parts is returned.
    """
    n = np.arange(P // blocks)
    A = -np.tril(np.sqrt(np.outer(2 * n + 1, 2 * n + 1)), -1) - np.diag(n + 1.0)
    p = np.sqrt(n + 0.5)
    S = A + np.outer(p, p)
    imag, V = np.linalg.eigh(-1j * S)
    Lambda = np.diag(S).mean() + 1j * imag
    if conj_sym:
        half = len(n) // 2
        Lambda, V = Lambda[:half], V[:, :half]
    return np.tile(Lambda, blocks), np.kron(np.eye(blocks), V)
