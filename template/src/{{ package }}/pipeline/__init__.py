"""The stages of dvc.yaml, one file each. `mlops run STAGE` calls its `main(project)`."""
