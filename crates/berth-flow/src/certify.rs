//! Checks an answer against the problem, from its definition. Shares no code with the solver.
