"""The package: schema, data, features and model are yours; pipeline/, service.py and monitor.py are the wiring."""
