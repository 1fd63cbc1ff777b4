"""How far a campaign is: read from its results, while it runs or afterwards."""
