"""The stages of dvc.yaml, a file each: `main(project)` is what `mlops run STAGE` calls."""
