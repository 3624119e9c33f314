//! The client of the ID Issuer API: login and refresh, as the vendor documents them and as they must be survived.
//!
//! It does not depend on Kubernetes. It sends requests through one small trait, [`Transport`], implemented by
//! [`HttpTransport`], so that the same engine also runs with a simulated issuer.

mod bundles;
mod client;
mod clients;
mod defect;
mod diagnosis;
mod encoding;
mod error;
mod http;
mod page;
mod transport;
mod trust;
mod wire;

pub use bundles::{BundleRefusal, Bundles};
pub use client::{Exchange, IssuerAddress, IssuerClient};
pub use defect::AnswerError;
pub use diagnosis::connect_failure;
pub use error::{IssuerError, Refusal};
pub use http::HttpTransport;
pub use page::is_page;
pub use transport::{Answer, Request, Transport, TransportError};
pub use trust::{CaBundle, CaBundleError, Trust};
