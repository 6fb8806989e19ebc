"""The machine room: owned by the template, updated by `copier update`. The team's files lie one folder up."""
