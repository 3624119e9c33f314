//! ID Issuer operator.
