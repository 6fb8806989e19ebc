"""The package: four files are yours (schema, data, features, model) and so is custom/; ops/ is the template's."""
