//! What was read of a credential and its surroundings, as values.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::{IdIssuerCredential, IdIssuerCredentialStatus};
use crate::core::conditions::ConditionType;
use crate::plugin::row::Row;

/// All that is known. What could not be read is absent.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) credential: IdIssuerCredential,
    pub(super) row: Row,
    /// This machine's clock.
    pub(super) now: Timestamp,
    /// The API server's clock at the same time.
    pub(super) server_time: Option<Timestamp>,
    /// The lease of the operator that wrote the status.
    pub(super) lease: Option<LeaseFacts>,
    pub(super) is_target_there: Option<bool>,
    pub(super) is_login_there: Option<bool>,
    pub(super) pods: Option<Vec<Pod>>,
    /// Why something was not read.
    pub(super) missing_rights: Vec<String>,
}

/// What a Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LeaseFacts {
    /// Its namespace and name.
    pub(super) path: String,
    /// None: it does not exist, or nobody holds it.
    pub(super) holder: Option<String>,
    pub(super) renewed: Option<Timestamp>,
    pub(super) seconds: i32,
}

impl Facts {
    /// The clock that the cluster goes by.
    pub(super) fn time(&self) -> Timestamp {
        self.server_time.unwrap_or(self.now)
    }

    pub(super) fn status(&self) -> Option<&IdIssuerCredentialStatus> {
        self.credential.status.as_ref()
    }

    /// The condition of this type, if it has this status.
    pub(super) fn condition(&self, type_: ConditionType, status: &str) -> Option<&Condition> {
        let mut conditions = self.status()?.conditions.iter();
        conditions.find(|it| it.type_ == type_.as_str() && it.status == status)
    }

    /// Whether nobody leads: the lease is free, or was not renewed for twice as long as it lasts.
    pub(super) fn is_leaderless(&self) -> Option<bool> {
        let lease = self.lease.as_ref()?;
        let age = lease.renewed.map(|renewed| self.time().duration_since(renewed).as_secs());
        Some(lease.holder.is_none() || age.is_none_or(|age| age > i64::from(lease.seconds.max(1)) * 2))
    }
}
