//! The testbed itself, under test.
//!
//! The modules are marked as test code so that the lints know their helpers for it too.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod control_plane;
#[cfg(test)]
mod helm;
#[cfg(test)]
mod leftovers;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod namespace;
#[cfg(test)]
mod node;
#[cfg(test)]
mod process;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod tools;
#[cfg(test)]
mod undertaker;
#[cfg(test)]
mod wait;
