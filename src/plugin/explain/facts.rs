//! What was read of a credential and of what belongs to it, as values.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::owner::Owner;
use crate::api::{IdIssuerCredential, IdIssuerCredentialStatus};
use crate::core::conditions::ConditionType;
use crate::plugin::injection::Annotated;
use crate::plugin::lease::{LeaseFacts, time_of_holder};
use crate::plugin::operator_metrics::OperatorMetrics;
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
    /// What the one that leads measures.
    pub(super) metrics: Option<OperatorMetrics>,
    pub(super) is_target_there: Option<bool>,
    pub(super) is_login_there: Option<bool>,
    /// The credential that it follows.
    pub(super) owner: Option<Owner>,
    pub(super) pods: Option<Vec<Pod>>,
    /// The Events about it, the latest last.
    pub(super) events: Vec<Event>,
    /// What makes pods, by its own metadata.
    pub(super) workloads: Vec<Annotated>,
    /// Why something was not read.
    pub(super) missing_rights: Vec<String>,
}

impl Facts {
    /// The clock of the API server.
    pub(super) fn api_time(&self) -> Timestamp {
        self.server_time.unwrap_or(self.now)
    }

    /// The clock of the operator, by which times of a status are.
    pub(super) fn time(&self) -> Timestamp {
        time_of_holder(self.lease.as_ref(), self.api_time())
    }

    pub(super) fn status(&self) -> Option<&IdIssuerCredentialStatus> {
        self.credential.status.as_ref()
    }

    /// The condition of this type, if it has this status.
    pub(super) fn condition(&self, type_: ConditionType, status: &str) -> Option<&Condition> {
        self.status()?.condition(type_.as_str()).filter(|it| it.status == status)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plugin::row::tests::{credential, time};

    /// When the facts are.
    pub(in crate::plugin::explain) const NOON: &str = "2026-01-01T00:30:00Z";

    /// The facts of a credential with a login, these fields of the specification and this status; nothing else is known.
    #[expect(clippy::needless_pass_by_value, reason = "the callers write it in place")]
    pub(in crate::plugin::explain) fn facts(spec: Value, status: Value) -> Facts {
        let mut whole = json!({"loginSecretRef": {"name": "login"}});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let credential = credential(whole, status);
        Facts {
            row: Row::new(&credential, time(NOON)),
            credential,
            now: time(NOON),
            server_time: None,
            lease: None,
            metrics: None,
            is_target_there: None,
            is_login_there: None,
            owner: None,
            pods: None,
            events: Vec::new(),
            workloads: Vec::new(),
            missing_rights: Vec::new(),
        }
    }
}
