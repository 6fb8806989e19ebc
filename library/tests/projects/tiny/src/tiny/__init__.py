"""A project as small as a record of releases allows: a text file as model, made-up numbers."""
