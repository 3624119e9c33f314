//! The client of the ID Issuer API: login and refresh, as the vendor documents them and as they must be survived.
//!
//! It knows nothing of Kubernetes. It sends through one small trait, [`Transport`], which [`HttpTransport`] carries
//! out, so that the whole engine above it runs over a simulated issuer as well.

mod bundles;
mod client;
mod clients;
mod defect;
mod diagnosis;
mod encoding;
mod error;
mod http;
mod transport;
mod trust;
mod wire;

pub use bundles::{BundleRefusal, Bundles};
pub use client::{Exchange, IssuerAddress, IssuerClient};
pub use defect::AnswerError;
pub use diagnosis::connect_failure;
pub use error::{IssuerError, Refusal};
pub use http::HttpTransport;
pub use transport::{Answer, Request, Transport, TransportError, is_page};
pub use trust::{CaBundle, CaBundleError, Trust};
