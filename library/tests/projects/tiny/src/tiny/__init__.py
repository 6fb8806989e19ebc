"""A project as small as a record of releases allows: its model is a text file, and its gate judges made-up numbers."""
