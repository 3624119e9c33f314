//! The Lease object at the API server: read, create, take or renew, release.
//!
//! Every write carries the resourceVersion of what was read, so that of two replicas that claim it at once one fails.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use super::cluster::FIELD_MANAGER;
use super::leadership::LeaseSettings;
use crate::core::leader::{LeaseRecord, Timings};

/// How long a call about the lease may take: several have to fit between two renewals and the deadline.
const CALL_LIMIT: Duration = Duration::from_secs(3);

/// A call about the lease that failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum LeaseError {
    /// The API server's verdict.
    #[error("{0}")]
    Api(String),
    /// No answer, or none that can be understood.
    #[error("the API server could not be reached, or did not answer in time")]
    Unreachable,
}

/// The lease that the replicas share.
pub(super) struct SharedLease {
    api: Api<Lease>,
    name: String,
    identity: String,
    timings: Timings,
}

impl SharedLease {
    pub(super) fn new(client: Client, settings: &LeaseSettings) -> Self {
        Self {
            api: Api::namespaced(client, &settings.namespace),
            name: settings.name.clone(),
            identity: settings.identity.clone(),
            timings: settings.timings,
        }
    }

    pub(super) async fn read(&self) -> Result<Option<LeaseRecord>, LeaseError> {
        Ok(call(self.api.get_opt(&self.name)).await?.as_ref().map(record))
    }

    pub(super) async fn create(&self, now: Timestamp) -> Result<LeaseRecord, LeaseError> {
        let lease = Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: Some(seconds(self.timings.duration)),
                acquire_time: Some(MicroTime(now)),
                renew_time: Some(MicroTime(now)),
                lease_transitions: Some(0),
                ..LeaseSpec::default()
            }),
        };
        let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        Ok(record(&call(self.api.create(&parameters, &lease)).await?))
    }

    pub(super) async fn renew(&self, held: &LeaseRecord, now: Timestamp) -> Result<LeaseRecord, LeaseError> {
        self.patch(held, json!({"renewTime": MicroTime(now)})).await
    }

    pub(super) async fn take(&self, free: &LeaseRecord, now: Timestamp) -> Result<LeaseRecord, LeaseError> {
        let spec = json!({
            "holderIdentity": self.identity,
            "leaseDurationSeconds": seconds(self.timings.duration),
            "acquireTime": MicroTime(now),
            "renewTime": MicroTime(now),
            "leaseTransitions": free.transitions.saturating_add(1),
        });
        self.patch(free, spec).await
    }

    /// Gives it up, so that another replica takes it at its next look.
    /// By the time in it the next holder sees how far its clock is behind ours.
    pub(super) async fn release(
        &self,
        held: &LeaseRecord,
        now: Timestamp,
    ) -> Result<LeaseRecord, LeaseError> {
        self.patch(held, json!({"holderIdentity": null, "renewTime": MicroTime(now)})).await
    }

    async fn patch(&self, of: &LeaseRecord, spec: serde_json::Value) -> Result<LeaseRecord, LeaseError> {
        let patch = Patch::Merge(json!({"metadata": {"resourceVersion": of.version}, "spec": spec}));
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        Ok(record(&call(self.api.patch(&self.name, &parameters, &patch)).await?))
    }
}

fn record(lease: &Lease) -> LeaseRecord {
    let spec = lease.spec.clone().unwrap_or_default();
    LeaseRecord {
        version: lease.resource_version().unwrap_or_default(),
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        duration: SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or_default().into()),
        transitions: spec.lease_transitions.unwrap_or_default(),
        renewed: spec.renew_time.map(|time| time.0),
    }
}

fn seconds(duration: SignedDuration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}

async fn call<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, LeaseError> {
    match tokio::time::timeout(CALL_LIMIT, request).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(kube::Error::Api(status))) => Err(LeaseError::Api(status.message)),
        Ok(Err(_)) | Err(_) => Err(LeaseError::Unreachable),
    }
}
