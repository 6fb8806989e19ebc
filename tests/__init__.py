"""The tests of the template: they generate projects and run them."""
