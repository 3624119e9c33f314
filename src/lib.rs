//! ID Issuer operator.
pub mod api;
