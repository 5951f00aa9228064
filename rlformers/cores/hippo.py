"""State matrices that project the past onto polynomials (HiPPO, Gu et al. 2020), computed once in float64.

HiPPO-LegS weighs the whole past equally (S4, S5). The delay network, HiPPO-LegT (Voelker et al. 2019), sees a window:

    θ ṁ = A m + B u      A_ij = (2i+1) (-1 if i < j else (-1)^(i-j+1))      B_i = (2i+1) (-1)^i
    u(t - r θ) ≈ Σ_i P_i(2r - 1) m_i(t)                                     0 <= r <= 1, P_i Legendre
"""

import functools

import numpy as np
import scipy.linalg
import scipy.special


def legs_system(order: int) -> tuple[np.ndarray, np.ndarray]:
    """A (N, N) of HiPPO-LegS, and the p (N,) that makes A + p pᵀ normal.

    A_nk = -√((2n+1)(2k+1)) below the diagonal, -(n+1) on it, and p_n = √(n+1/2). B of LegS is √2 p.
    """
    n = np.arange(order)
    A = -np.tril(np.sqrt(np.outer(2 * n + 1, 2 * n + 1)), -1) - np.diag(n + 1.0)
    return A, np.sqrt(n + 0.5)


def hippo_eigenbasis(P: int, blocks: int, conj_sym: bool) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (P',) and eigenvectors (P, P') of the normal part of HiPPO-LegS, in `blocks` diagonal blocks.

    The normal part A + p pᵀ (`legs_system`) is -1/2 on the diagonal and skew elsewhere, so one
    Hermitian eigenproblem gives them (S5, section 3.2). `conj_sym` returns only the half with
    negative imaginary parts.
    """
    A, p = legs_system(P // blocks)
    S = A + np.outer(p, p)
    imag, V = np.linalg.eigh(-1j * S)
    Lambda = np.diag(S).mean() + 1j * imag
    if conj_sym:
        half = len(p) // 2
        Lambda, V = Lambda[:half], V[:, :half]
    return np.tile(Lambda, blocks), np.kron(np.eye(blocks), V)


def delay_system(order: int) -> tuple[np.ndarray, np.ndarray]:
    """A (N, N) and B (N,) of the delay network, before division by its window θ."""
    i = np.arange(order)
    A = (2.0 * i[:, None] + 1) * np.where(i[:, None] < i, -1.0, (-1.0) ** (i[:, None] - i + 1))
    return A, (2.0 * i + 1) * (-1.0) ** i


@functools.cache
def delay_memory(order: int, thetas: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Ā (C, N, N) and B̄ (C, N) of m_t = Ā m_{t-1} + B̄ u_t for windows of `thetas` tokens: zero-order hold, Δ = 1.

    Ā stays dense. The condition number of its eigenvectors is 1e8 for N = 16 and 4e12 for N = 24,
    so a recurrence in its eigenbasis is noise in float32, while all powers of Ā are small.
    """
    blocks = np.stack([hold_block(order) / theta for theta in thetas])
    exponentials = scipy.linalg.expm(blocks)
    return exponentials[:, :order, :order], exponentials[:, :order, order]


def delay_eigenvalues(order: int, thetas: tuple[float, ...]) -> np.ndarray:
    """Eigenvalues of all Ā of `delay_memory`, complex (C N,): exp(λ / θ) for every eigenvalue λ of A."""
    eigenvalues = np.linalg.eigvals(delay_system(order)[0])
    return np.exp(eigenvalues / np.array(thetas)[:, None]).ravel()


def hold_block(order: int) -> np.ndarray:
    """[[A, B], [0, 0]]. Divide it by θ, and its exponential holds Ā and B̄ in its first rows."""
    A, B = delay_system(order)
    return np.pad(np.column_stack([A, B]), ((0, 1), (0, 0)))


def delay_decoder(order: int, r: np.ndarray) -> np.ndarray:
    """P_i(2r - 1) (N, R); m times it is the input r windows ago."""
    return scipy.special.eval_legendre(np.arange(order)[:, None], 2 * np.asarray(r) - 1)


def log_spaced_windows(theta_min: float, theta_max: float, channels: int) -> tuple[float, ...]:
    """Windows from the longest to the shortest; a single channel has the longest."""
    return tuple(np.geomspace(theta_max, theta_min, channels).tolist())
