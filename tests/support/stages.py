"""Programs whose emitted source has several stages: sums of sums, states of all kinds."""

MATRICES = """
def train(w, g, r: per_row, c: per_column, k: rows_by_rows, lr):
    r = interp(row_mean(square(g)), r, 0.9)
    c = interp(column_mean(square(g)), c, 0.9)
    k = interp(matmul(g, transpose(g)), k, 0.5)
    update = g / sqrt(r * c / mean(r) + 1e-3) + matmul(k, w)
    return lr * update, r, c, k
"""

STAGES = """
def train(w, g, m, c: scalar, n: per_array, lr, step, b=0.9, s=2.0):
    h = clip(g, b / s)
    d = dot(h, lr) + cosine_sim(g, w) * mean(norm(w))
    m = interp(h * d, m, 1 / step)
    c = c + global_norm(m) * b ** s
    n = maximum(norm(m), n)
    update = where(m < c, m, n) / (1 + sum(abs(m - g)))
    return lr * update, m, c, 0.5
"""
