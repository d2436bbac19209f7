"""Zero points of all exposures from all stars (ubercal): survey, or one group of exposures."""
