"""PAC-Bayes: bounds on the risk of randomized classifiers, training by them, and certificates."""
