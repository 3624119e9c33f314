//! The issuer's client and the accounts of a process, against the simulator, against raw sockets that misbehave, and in
//! simulated time.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on shall fail")]
#![expect(clippy::print_stderr, reason = "it belongs to the output of a test")]

mod accounts;
mod answers;
mod api_server;
mod attacks;
mod certificates;
mod connections;
mod faults;
mod kubeconfig;
mod neighbours;
mod outages;
mod programs;
mod secret_volume;
mod secrets;
mod sidecar;
#[path = "../simulation/simulated_answer.rs"]
mod simulated_answer;
mod stage;
mod support;
mod test_process;
mod token;
