//! The testbed itself, where a promise rests on it: the API server in memory does what the real one does, injected faults
//! and counted requests are real, and the images are what their recipe says.
//!
//! The modules are marked as test code so that the lints know their helpers for it too.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod image;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod node;
#[cfg(test)]
mod proxy;
