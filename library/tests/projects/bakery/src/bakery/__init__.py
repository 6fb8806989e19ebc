"""A bakery with five customers, one of whom asks to be forgotten.

Its model is a text file, its tables are real.
"""
