"""The record (git tags) and what follows from it: promote, rollback, the machine's champion, MLflow's registry."""
