//! The Lease object at the API server: read, create, take or renew, release.
//!
//! Every write carries the resourceVersion of what was read, so that of two replicas that claim it at once one fails.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use super::api_call::{CallError, measured_call};
use super::api_server::FIELD_MANAGER;
use super::settings::LeaseSettings;
use crate::core::lease::{CallLatency, LeaseRecord, Timings};

/// The lease that the replicas share.
pub(super) struct SharedLease {
    api: Api<Lease>,
    name: String,
    identity: String,
    configured: Timings,
    call_latency: CallLatency,
}

impl SharedLease {
    pub(super) fn new(client: Client, settings: &LeaseSettings) -> Self {
        Self {
            api: Api::namespaced(client, &settings.namespace),
            name: settings.name.clone(),
            identity: settings.identity.clone(),
            configured: settings.timings,
            call_latency: CallLatency::default(),
        }
    }

    /// The timings of a claim that is sent now.
    pub(super) fn timings(&self) -> Timings {
        self.call_latency.timings(self.configured)
    }

    pub(super) async fn read(&mut self) -> Result<Option<LeaseRecord>, CallError> {
        let (api, name) = (self.api.clone(), self.name.clone());
        Ok(self.call(api.get_opt(&name)).await?.as_ref().map(record))
    }

    pub(super) async fn create(&mut self, now: Timestamp) -> Result<LeaseRecord, CallError> {
        let lease = Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: Some(seconds(self.timings().duration)),
                acquire_time: Some(MicroTime(now)),
                renew_time: Some(MicroTime(now)),
                lease_transitions: Some(0),
                ..LeaseSpec::default()
            }),
        };
        let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        let api = self.api.clone();
        Ok(record(&self.call(api.create(&parameters, &lease)).await?))
    }

    pub(super) async fn renew(
        &mut self,
        held: &LeaseRecord,
        now: Timestamp,
    ) -> Result<LeaseRecord, CallError> {
        let duration = seconds(self.timings().duration);
        self.patch(held, json!({"leaseDurationSeconds": duration, "renewTime": MicroTime(now)})).await
    }

    pub(super) async fn take(
        &mut self,
        free: &LeaseRecord,
        now: Timestamp,
    ) -> Result<LeaseRecord, CallError> {
        let spec = json!({
            "holderIdentity": self.identity,
            "leaseDurationSeconds": seconds(self.timings().duration),
            "acquireTime": MicroTime(now),
            "renewTime": MicroTime(now),
            "leaseTransitions": free.transitions.saturating_add(1),
        });
        self.patch(free, spec).await
    }

    /// Gives it up, so that another replica takes it at its next look.
    /// By the time in it the next holder sees how far its clock is behind ours.
    pub(super) async fn release(
        &mut self,
        held: &LeaseRecord,
        now: Timestamp,
    ) -> Result<LeaseRecord, CallError> {
        self.patch(held, json!({"holderIdentity": null, "renewTime": MicroTime(now)})).await
    }

    async fn patch(&mut self, of: &LeaseRecord, spec: serde_json::Value) -> Result<LeaseRecord, CallError> {
        let patch = Patch::Merge(json!({"metadata": {"resourceVersion": of.version}, "spec": spec}));
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let (api, name) = (self.api.clone(), self.name.clone());
        Ok(record(&self.call(api.patch(&name, &parameters, &patch)).await?))
    }

    async fn call<T>(&mut self, request: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
        let limit = self.call_latency.call_limit(self.configured).unsigned_abs();
        let latency = &mut self.call_latency;
        let note = |took| match took {
            Some(took) => latency.answered(took),
            None => latency.unanswered(),
        };
        measured_call(limit, request, note).await
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
