"""Search hyper-parameters with optuna, on the validation split."""
