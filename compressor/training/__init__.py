"""Training, evaluation, BatchNorm re-estimation and distillation, on Lightning Fabric."""
