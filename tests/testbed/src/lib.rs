//! A real Kubernetes control plane for tests, examples and benches.
//!
//! ```no_run
//! use std::time::Duration;
//! use idissuer_testbed::{Result, TestNamespace, shared, wait};
//! use k8s_openapi::api::core::v1::ConfigMap;
//!
//! # async fn test() -> Result<()> {
//! let control_plane = shared().await?;
//! let namespace = TestNamespace::create(control_plane, "first-steps").await?;
//! namespace.kubectl().apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: greeting}}").await?;
//! let maps = namespace.api::<ConfigMap>();
//! wait::object(&maps, "greeting", "its arrival", Duration::from_secs(5), |_| true).await;
//! # Ok(())
//! # }
//! ```
//!
//! - [`shared()`] is the one control plane of a test process; [`ControlPlane::start`] makes another, for a test that
//!   stops the API server or needs other options.
//! - [`Node`] runs pods, beside a control plane that has all controllers; [`Cluster`] is both. It needs root: a test
//!   asks [`Node::available_for_test`] first.
//! - [`Image`] makes container images, of one static program say; [`Recipe`] makes those of a Containerfile.
//! - [`Helm`] installs and renders charts, with Helm 4 or Helm 3.
//! - [`TestNamespace`] is where one test works. If the test panics, it shows what lay there.
//! - [`wait`] waits for a condition, with a limit.
//! - [`AuditLog`] counts the requests of a client.
//! - [`proxy`] stands between a client and the API server, and lets requests fail.
//! - [`wire`] lies between them below HTTP: it can fall silent, or be a proxy.
//! - [`process`] runs other programs, which end with the test.
//! - [`memory`] is an API server without programs and waiting: for tests in paused time. A table holds it to the real
//!   one.
//! - [`Terminal`] is the keyboard and screen of a program that asks a person.
//! - [`Tools`] finds or builds the programs of Kubernetes.
//!
//! Nothing is left after the end of the process, however it ends.

mod audit;
mod certificates;
mod cluster;
mod command;
mod control_plane;
mod error;
mod helm;
mod image;
mod inventory;
mod kubeconfig;
mod kubectl;
pub mod memory;
mod namespace;
mod node;
mod ports;
pub mod process;
pub mod prometheus;
pub mod proxy;
mod shared;
mod skip;
mod terminal;
mod tools;
mod unpacked;
pub mod wait;
pub mod wire;

pub use audit::{AuditLog, AuditRequest, Mark, count};
pub use cluster::Cluster;
pub use control_plane::{Component, ControlPlane, Controllers, Options, install_crypto_provider};
pub use error::{Error, Result};
pub use helm::Helm;
pub use image::{Image, Recipe, bill_of_materials, unpack};
pub use kubectl::Kubectl;
pub use namespace::TestNamespace;
pub use node::Node;
pub use shared::{Shared, shared};
pub use skip::{skip, variable};
pub use terminal::Terminal;
pub use tools::{Program, Tools};
pub use unpacked::unpacked;
