//! Rotating ID Issuer tokens in Kubernetes: an operator and a sidecar.
//!
//! Its modules depend on each other in one direction only:
//! `api, core ← issuer ← traces ← account ← controller, sidecar, plugin ← cli`; `ops` may be used from `issuer` upwards.

pub mod account;
pub mod api;
pub mod cli;
pub mod controller;
pub mod core;
pub mod issuer;
pub mod ops;
pub mod plugin;
pub mod sidecar;
pub mod traces;
