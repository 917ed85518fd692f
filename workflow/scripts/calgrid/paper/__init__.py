"""The paper's printed numbers, what follows from them, and a run beside them."""
