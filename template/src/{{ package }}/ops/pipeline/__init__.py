"""The stages of dvc.yaml, each a function on files and a module that DVC runs."""
