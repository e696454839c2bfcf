"""A kit that proves a gate under load: Locust's users, scenarios with a verdict each, and what runs them."""
