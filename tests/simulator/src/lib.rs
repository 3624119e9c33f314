//! A simulated ID Issuer web API, for tests.
//!
//! The vendor's page leaves many questions open and answers some of them twice. This crate answers all of them, each in
//! every way that a real issuer might: a [`Personality`] says which, and [`FaultRule`]s say what goes wrong meanwhile.
//!
//! Three layers, each usable alone:
//!
//! ```text
//! Issuer     the model: users, sessions, tokens. Synchronous; time comes in as a value; cloneable
//!   ▲
//! Simulator  requests in, answers out, with faults, latency, counts and a log. No sockets
//!   ▲
//! Server     the Simulator on a real socket, http or https, and its control address
//! ```
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use idissuer_simulator::{Config, Fault, FaultRule, RefreshAccepted, Simulator, User};
//!
//! let server = Simulator::start(
//!     Config::default()
//!         .user(User::new("shop@example.com", "secret"))
//!         .personality(|personality| personality.refresh.accepted = RefreshAccepted::AfterExpiry),
//! )
//! .await?;
//!
//! // Point the program under test at `server.url()`. The next refresh works, but its answer is lost:
//! server.inject(FaultRule::on_refresh(Fault::Lost).once());
//!
//! assert_eq!(server.counts().total().logins_accepted, 0);
//! # Ok(()) }
//! ```

mod answer;
mod config;
mod control;
mod fault;
mod fingerprint;
mod generator;
mod model;
mod personality;
mod range;
mod record;
mod request;
mod server;
mod service;
mod simulator;
mod tls;
mod token;
mod wire;

pub use answer::{Response, SimulatedAnswer};
pub use config::{Config, Tls};
pub use fault::{Calls, Compression, Fault, FaultRule, RetryAfter};
pub use fingerprint::Fingerprint;
pub use model::{Answer, Grant, Issuer, Reason, Refusal, User};
pub use personality::{
    ExpiresIn, Lockout, LoginPersonality, Missing, Personality, RefreshAccepted, RefreshPersonality,
    RefreshRequest, RefreshTokens, Session, TokenFormat, TokenPersonality, TrailingSlash,
};
pub use range::{DurationRange, Latency, ParseRangeError};
pub use record::{CallRecord, Counts, Operation, Outcome, UNKNOWN_USER, UserCounts};
pub use request::Request;
pub use server::{Server, StartError};
pub use simulator::{Exchange, Simulator};
