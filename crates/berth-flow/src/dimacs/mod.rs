//! The DIMACS format for min-cost flow problems.
