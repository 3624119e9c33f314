//! The flags of the lease.

use clap::Args;
use jiff::SignedDuration;

use crate::controller::LeaseSettings;
use crate::core::lease::Timings;

#[derive(Debug, Args)]
pub(super) struct LeaseArguments {
    /// Act only while holding a lease, so that several replicas can run
    #[arg(long, env = "IDISSUER_LEADER_ELECT")]
    leader_elect: bool,

    /// The name of the lease [default: idissuer-operator, plus a hash of the namespaces if any are given]
    #[arg(long, env = "IDISSUER_LEASE_NAME", value_name = "NAME")]
    lease_name: Option<String>,

    /// The namespace of the lease [default: the pod's own, or that of the kubeconfig]
    #[arg(long, env = "IDISSUER_LEASE_NAMESPACE", value_name = "NAME")]
    lease_namespace: Option<String>,

    /// How long a lease is valid without renewal. With a slow API server, its holder extends this up to 60 seconds
    #[arg(long, env = "IDISSUER_LEASE_DURATION_SECONDS", value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u16).range(3..))]
    lease_duration_seconds: u16,

    /// How long the holder acts after its last renewal; less than the duration
    #[arg(long, env = "IDISSUER_LEASE_RENEW_DEADLINE_SECONDS", value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u16).range(2..))]
    lease_renew_deadline_seconds: u16,

    /// How often the lease is renewed or checked; less than the renew deadline
    #[arg(long, env = "IDISSUER_LEASE_RETRY_PERIOD_SECONDS", value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    lease_retry_period_seconds: u16,
}

impl LeaseArguments {
    /// The timings, if they fit together.
    pub(super) fn timings(&self) -> Result<Timings, String> {
        let seconds = |seconds: u16| SignedDuration::from_secs(seconds.into());
        let timings = Timings {
            duration: seconds(self.lease_duration_seconds),
            renew_deadline: seconds(self.lease_renew_deadline_seconds),
            retry_period: seconds(self.lease_retry_period_seconds),
        };
        if timings.retry_period < timings.renew_deadline && timings.renew_deadline < timings.duration {
            Ok(timings)
        } else {
            Err("set the lease's retry period shorter than its renew deadline, and that shorter than its duration".into())
        }
    }

    /// The lease, if one is wanted; `own_namespace` is where we run.
    pub(super) fn settings(
        self,
        timings: Timings,
        namespaces: &[String],
        own_namespace: &str,
    ) -> Option<LeaseSettings> {
        self.leader_elect.then(|| LeaseSettings {
            namespace: self.lease_namespace.unwrap_or_else(|| own_namespace.to_owned()),
            name: self.lease_name.unwrap_or_else(|| LeaseSettings::default_name(namespaces)),
            identity: LeaseSettings::new_identity(),
            timings,
        })
    }
}
