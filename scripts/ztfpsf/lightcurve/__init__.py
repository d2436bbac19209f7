"""Light curves: the flux of a target and of stars in every exposure, by one estimator."""
