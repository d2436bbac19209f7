"""The least-squares problem, its normal equations, and their solution."""
