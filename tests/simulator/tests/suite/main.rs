//! The simulator as its users meet it: on a socket, at its control address, and as a program. One binary, for each one
//! is linked for itself.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

mod binary;
mod control;
mod http;
