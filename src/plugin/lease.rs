//! The Leases of operators, which say whether somebody leads, and what the clock of the leader shows.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;

use super::cluster::Cluster;
use super::cluster_clock::CLOCKS_DIFFER;
use super::failure::Failure;
use super::lifetime::{relative, short};
use crate::api::IdIssuerCredential;

/// The most Leases that are read for one command.
const MOST_LEASES: usize = 32;

/// What a Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LeaseFacts {
    /// Its namespace and name.
    pub(super) path: String,
    /// None: it does not exist, or nobody holds it.
    pub(super) holder: Option<String>,
    /// When it was renewed, by the API server's clock.
    pub(super) renewed: Option<Timestamp>,
    /// How far the clock of its holder is ahead of the API server's; zero if they agree or it is not known.
    pub(super) ahead: SignedDuration,
    pub(super) seconds: i32,
}

impl LeaseFacts {
    /// The lease that the status of a credential names; none for an operator without one.
    pub(super) async fn read(cluster: &Cluster, controller: &str) -> Result<Option<Self>, Failure> {
        let Some((namespace, name)) = lease_of(controller) else { return Ok(None) };
        let lease = cluster.lease(namespace, name).await?;
        let lease = lease.unwrap_or_default();
        // The API server notes when fields were last changed; the holder writes its own time into them.
        let writers = lease.metadata.managed_fields.iter().flatten().filter(|writer| renews(writer));
        let written = writers.filter_map(|writer| writer.time.as_ref()).map(|time| time.0).max();
        let spec = lease.spec.unwrap_or_default();
        let told = spec.renew_time.map(|time| time.0);
        Ok(Some(Self {
            path: format!("{namespace}/{name}"),
            holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
            renewed: told.and(written).or(told),
            ahead: ahead_of(told, written),
            seconds: spec.lease_duration_seconds.unwrap_or(15),
        }))
    }

    /// Whether nobody leads: the lease is free, or was not renewed for twice as long as it lasts.
    pub(super) fn is_lost(&self, now: Timestamp) -> bool {
        let age = self.renewed.map(|renewed| now.duration_since(renewed).as_secs());
        self.holder.is_none() || age.is_none_or(|age| age > i64::from(self.seconds.max(1)) * 2)
    }

    /// The namespace and name of the pod that holds it: an identity is the name of the pod and a random number.
    pub(super) fn leading_pod(&self) -> Option<(&str, &str)> {
        let (namespace, _) = self.path.split_once('/')?;
        let (pod, _) = self.holder.as_deref()?.rsplit_once('_')?;
        Some((namespace, pod))
    }

    /// What is wrong with the clock of its holder.
    pub(super) fn clock_problem(&self) -> Option<String> {
        let way = if self.ahead.is_negative() { "behind" } else { "ahead of" };
        (!self.ahead.is_zero())
            .then(|| format!("the operator's clock is {} {way} the API server's", short(self.ahead)))
    }

    /// Who holds it, for people.
    pub(super) fn describe(&self, now: Timestamp) -> String {
        match (&self.holder, self.renewed) {
            (Some(holder), Some(renewed)) => {
                format!("Lease {}: {holder} renewed it {}", self.path, relative(renewed, now))
            }
            _ => format!("Lease {}: nobody holds it", self.path),
        }
    }
}

/// What the clock of its holder shows, by which the times of a status are, when that of the API server shows this.
pub(super) fn time_of_holder(lease: Option<&LeaseFacts>, time: Timestamp) -> Timestamp {
    lease.and_then(|lease| time.saturating_add(lease.ahead).ok()).unwrap_or(time)
}

/// The Leases of the operators that wrote some statuses, by what the statuses call them.
#[derive(Clone, Debug, Default)]
pub(super) struct Leases(BTreeMap<String, LeaseFacts>);

impl Leases {
    /// Those that can be read. Without its Lease, the clock of an operator counts as right. Tenants may have written the
    /// statuses, so the number of reads is limited.
    pub(super) async fn read(cluster: &Cluster, credentials: &[IdIssuerCredential]) -> Self {
        let mut leases = Self::default();
        for controller in controllers(credentials).into_iter().take(MOST_LEASES) {
            // A failure costs a correction of times, and not the command.
            if let Ok(Some(lease)) = LeaseFacts::read(cluster, controller).await {
                leases.add(controller, lease);
            }
        }
        leases
    }

    pub(super) fn add(&mut self, controller: &str, lease: LeaseFacts) {
        self.0.insert(controller.to_owned(), lease);
    }

    /// That of the operator that wrote the status of this credential.
    pub(super) fn of(&self, credential: &IdIssuerCredential) -> Option<&LeaseFacts> {
        self.0.get(credential.status.as_ref()?.controller.as_ref()?)
    }
}

/// What the statuses call the operators that wrote them.
pub(super) fn controllers(credentials: &[IdIssuerCredential]) -> BTreeSet<&str> {
    let statuses = credentials.iter().filter_map(|credential| credential.status.as_ref());
    statuses.filter_map(|status| status.controller.as_deref()).collect()
}

/// Whether this writer's fields hold the time of the renewal: others only label the Lease, or free it.
fn renews(writer: &ManagedFieldsEntry) -> bool {
    let fields = writer.fields_v1.as_ref().map(|fields| &fields.0);
    fields.is_some_and(|fields| fields.pointer("/f:spec/f:renewTime").is_some())
}

/// How far the first clock is ahead; zero if that may be the time that a request took.
fn ahead_of(told: Option<Timestamp>, written: Option<Timestamp>) -> SignedDuration {
    let ahead = told.zip(written).map(|(told, written)| told.duration_since(written)).unwrap_or_default();
    if ahead.as_secs().abs() > CLOCKS_DIFFER { ahead } else { SignedDuration::ZERO }
}

/// The namespace and name of a lease; an operator without one is `none/HOST/ADDRESS`.
fn lease_of(controller: &str) -> Option<(&str, &str)> {
    // A tenant may have written the status: what is no name gets into no path and no command.
    let is_name = |text: &str| {
        let is_part = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
        text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.bytes().all(is_part)
    };
    controller
        .split_once('/')
        .filter(|(namespace, name)| *namespace != "none" && is_name(namespace) && is_name(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugin::row::tests::{credential, time};

    #[test]
    fn a_controller_names_its_lease_or_has_none() {
        assert_eq!(lease_of("idissuer-system/idissuer"), Some(("idissuer-system", "idissuer")));
        assert_eq!(lease_of("none/host/127.0.0.1:8080"), None);
        for odd in ["odd", "x$(id)/y", "shop/x y", "-n/x", "/x", "x/", "a/b/c"] {
            assert_eq!(lease_of(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_holder_names_its_pod() {
        let lease = |holder: Option<&str>| LeaseFacts {
            path: "system/idissuer".to_owned(),
            holder: holder.map(str::to_owned),
            renewed: None,
            ahead: SignedDuration::ZERO,
            seconds: 15,
        };
        assert_eq!(lease(Some("idissuer-5d_0a1b2c3d")).leading_pod(), Some(("system", "idissuer-5d")));
        assert_eq!(lease(Some("odd")).leading_pod(), None);
        assert_eq!(lease(None).leading_pod(), None);
    }

    #[test]
    fn the_clock_of_a_holder_is_compared_with_that_of_the_api_server() {
        let written = "2026-01-01T00:10:00Z";
        for (told, expected) in [
            ("2026-01-01T00:10:00Z", None),
            ("2026-01-01T00:09:55Z", None),
            ("2026-01-01T02:10:00Z", Some("the operator's clock is 2h ahead of the API server's")),
            ("2025-12-31T23:10:00Z", Some("the operator's clock is 1h behind the API server's")),
        ] {
            let lease = LeaseFacts {
                path: "a/b".to_owned(),
                holder: Some("pod".to_owned()),
                renewed: Some(time(written)),
                ahead: ahead_of(Some(time(told)), Some(time(written))),
                seconds: 15,
            };
            assert_eq!(lease.clock_problem().as_deref(), expected, "{told}");
        }
        assert_eq!(ahead_of(Some(time(written)), None), SignedDuration::ZERO, "nothing notes the writes");
    }

    #[test]
    fn the_times_of_a_status_are_by_the_clock_of_the_operator_that_wrote_it() {
        let mut leases = Leases::default();
        let lease = LeaseFacts {
            path: "system/ahead".to_owned(),
            holder: None,
            renewed: None,
            ahead: SignedDuration::from_hours(2),
            seconds: 15,
        };
        leases.add("system/ahead", lease);
        let of = |status| credential(json!({"loginSecretRef": {"name": "login"}}), status);
        let noon = time("2026-01-01T12:00:00Z");
        for (status, expected) in [
            (json!({"controller": "system/ahead"}), "2026-01-01T14:00:00Z"),
            (json!({"controller": "system/other"}), "2026-01-01T12:00:00Z"),
            (json!({}), "2026-01-01T12:00:00Z"),
            (json!(null), "2026-01-01T12:00:00Z"),
        ] {
            let found = time_of_holder(leases.of(&of(status.clone())), noon);
            assert_eq!(found, time(expected), "{status}");
        }
        let statuses = ["b/b", "a/a", "b/b"].map(|controller| of(json!({"controller": controller})));
        assert_eq!(controllers(&statuses), BTreeSet::from(["a/a", "b/b"]));
    }

    #[test]
    fn who_only_labels_or_frees_a_lease_does_not_renew_it() {
        for (fields, expected) in [
            (json!({"f:spec": {"f:holderIdentity": {}, "f:renewTime": {}}}), true),
            (json!({"f:spec": {"f:holderIdentity": {}}}), false),
            (json!({"f:metadata": {"f:labels": {"f:renewTime": {}}}}), false),
        ] {
            let writer = serde_json::from_value(json!({"fieldsV1": fields.clone()})).unwrap();
            assert_eq!(renews(&writer), expected, "{fields}");
        }
    }

    #[test]
    fn a_lease_is_lost_when_nobody_holds_or_renews_it() {
        let now = time("2026-01-01T00:01:00Z");
        for (holder, renewed, lost) in [
            (Some("pod"), Some("2026-01-01T00:00:45Z"), false),
            (Some("pod"), Some("2026-01-01T00:00:20Z"), true),
            (Some("pod"), None, true),
            (None, Some("2026-01-01T00:00:59Z"), true),
        ] {
            let lease = LeaseFacts {
                path: "a/b".to_owned(),
                holder: holder.map(str::to_owned),
                renewed: renewed.map(time),
                ahead: SignedDuration::ZERO,
                seconds: 15,
            };
            assert_eq!(lease.is_lost(now), lost, "{holder:?} {renewed:?}");
        }
    }
}
