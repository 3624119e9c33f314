//! The hostile soak: a tenant attacks with every object that it may create, a client attacks the port of probes
//! and metrics, and programs use a hundred credentials of other namespaces all the time.
//!
//! ```text
//! setup    an API server, an issuer, an operator, honest credentials in four namespaces, and a tenant's namespace
//! tenant   what a tenant may do in its own namespace: templates, Secrets, logins, sizes, spellings   ─┐
//! port     silence, long heads, unread answers; and the probe of a kubelet                                   ├→ report
//! clients  the tokens of the honest namespaces, presented to the issuer twice a second                ─┘
//! ```
//!
//! `make hostile` runs it: `MINUTES=30` for so long, `SEED=7` with the attacks of that seed. A new attack is a new arm of
//! [`tenant::Attack`] or [`port::Attack`].

mod clients;
mod port;
mod report;
mod setup;
mod tenant;

use std::sync::Arc;
use std::time::Duration;

use crate::soak::number;

use clients::Reads;
use port::Probes;
use report::Report;
use setup::Setup;

/// How long the attacks last, unless the variable `MINUTES` says otherwise.
const MINUTES: u64 = 10;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make hostile runs it"]
async fn a_hostile_tenant_and_an_attacked_port_cost_no_other_namespace_a_token() {
    let time = Duration::from_secs(60 * number("MINUTES").unwrap_or(MINUTES));
    let seed = number("SEED").unwrap_or_else(|| fastrand::Rng::default().u64(..1_000_000));
    eprintln!("seed {seed}: SEED={seed} brings the same attacks again");
    let setup = Arc::new(Setup::start().await);
    setup.until_honest_are_ready().await;

    let (reads, probes) = (Arc::new(Reads::default()), Arc::new(Probes::default()));
    let mut tasks = clients::start(&setup, &reads);
    tasks.push(port::probe(&setup, &probes));
    tasks.extend(port::attack(&setup, seed));
    let attacks = tenant::attack(&setup, seed, time).await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    for task in tasks {
        let ended = task.await;
        assert!(ended.as_ref().is_err_and(tokio::task::JoinError::is_cancelled), "{ended:?}");
    }

    let report = Report::of(&setup, &reads, &probes, attacks, time).await;
    eprintln!("{report}");
    let complaint = report.complaint();
    if complaint.is_some() {
        eprintln!("{}", setup.warnings_of_honest());
    }
    assert_eq!(complaint, None, "see the report");
}
