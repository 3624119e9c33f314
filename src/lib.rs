//! Rotating ID Issuer tokens in Kubernetes: an operator and a sidecar.

pub mod core;
