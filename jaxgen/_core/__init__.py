"""What every room stands on: results, argument checks, the scan driver, reductions across seeds."""
