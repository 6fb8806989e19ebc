"""Watch what is served: drift, skew, broken rules, staleness, quality once outcomes are known; and raise alarms."""
