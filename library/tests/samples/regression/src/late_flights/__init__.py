"""The package of this project.

schema.py, data.py, features.py and model.py are yours. They describe the problem.
pipeline/, service.py and monitor.py are the wiring. They call the tools.
"""
