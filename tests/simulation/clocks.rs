//! Clocks that are set, and machines that sleep.
