//! A credential as it is kept between two reconciliations: as JSON, which needs much less memory than the parsed object.

use jiff::Timestamp;

use super::guarded::Guarded;
use super::trim;
use crate::core::object_name::NamespacedName;

/// The JSON of a credential, or of the metadata of a malformed one.
pub(super) struct PackedCredential {
    json: Box<[u8]>,
    /// When the published token expires, as status says.
    expiration: Option<Timestamp>,
}

/// Why a credential could not be packed or unpacked.
#[derive(Debug, thiserror::Error)]
#[error("keep a credential in memory: {0}")]
pub(super) struct PackError(serde_json::Error);

impl PackError {
    /// Logs that this credential is not worked on.
    pub(super) fn log(&self, NamespacedName { namespace, name }: &NamespacedName) {
        tracing::error!(namespace = &**namespace, name = &**name, "{self}");
    }
}

impl PackedCredential {
    /// Packs what a list or watch has shown; without the status if this process remembers that one itself.
    ///
    /// # Errors
    /// When it cannot be written as JSON, though it was read from it.
    pub(super) fn pack(mut object: Guarded, is_status_remembered: bool) -> Result<Self, PackError> {
        let status = object.0.as_ref().ok().and_then(|credential| credential.status.as_ref());
        let token = status.and_then(|status| status.token.as_ref());
        let expiration = token.map(|token| token.expiration_time.0);
        if let Ok(credential) = &mut object.0
            && is_status_remembered
        {
            trim::leave_out_status(credential);
        }
        let json = serde_json::to_vec(&object).map_err(PackError)?.into();
        Ok(Self { json, expiration })
    }

    /// What was packed.
    ///
    /// # Errors
    /// When the JSON cannot be read, though [`PackedCredential::pack`] wrote it.
    pub(super) fn unpack(&self) -> Result<Guarded, PackError> {
        serde_json::from_slice(&self.json).map_err(PackError)
    }

    /// Leaves the status out, which this process remembers from now on.
    ///
    /// # Errors
    /// As [`PackedCredential::pack`] and [`PackedCredential::unpack`].
    pub(super) fn leave_out_status(&mut self) -> Result<(), PackError> {
        let packed = Self::pack(self.unpack()?, true)?;
        self.json = packed.json;
        Ok(())
    }

    /// When the published token expires, as far as the watch has shown.
    pub(super) fn expiration(&self) -> Option<Timestamp> {
        self.expiration
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::trim::{is_status_left_out, is_trimmed, trim};
    use serde_json::{Value, json};

    fn object(spec: &Value) -> Guarded {
        let mut object = serde_json::from_value(json!({
            "apiVersion": "idissuer.pl/v1alpha1", "kind": "IdIssuerCredential",
            "metadata": {
                "name": "billing", "namespace": "shop", "uid": "u", "resourceVersion": "7", "generation": 2,
                "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-02T00:00:00Z",
                "annotations": {
                    "idissuer.pl/renew-requested-at": "now", "other": "x",
                    // Nobody can set these, and they would not be believed.
                    "idissuer.pl//status-left-out": "", "idissuer.pl//template-left-out": "",
                },
            },
            "spec": spec,
            "status": {
                "observedGeneration": 2, "controller": "shop/operator", "claimedBy": "shop/another",
                "token": {
                    "issuedTime": "2026-01-01T00:00:00Z", "expirationTime": "2026-01-01T01:00:00Z",
                    "renewalTime": "2026-01-01T00:44:00Z", "lifetimeSource": "ExpiresIn",
                    "fingerprint": "sha256:0", "grant": "Login", "ownerUid": "v",
                },
                "conditions": [{
                    "type": "Ready", "status": "True", "reason": "TokenPublished", "message": "m",
                    "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 2,
                }],
                "secretName": "other", "target": {"uid": "s", "resourceVersion": "8"}, "refreshSupport": "Early",
                "login": {
                    "secretResourceVersion": "6", "attemptTime": "2026-01-01T00:00:00Z",
                    "acceptedTime": "2026-01-01T00:00:00Z", "rejections": 1, "rejection": "Blocked",
                },
                "failures": {
                    "consecutiveFailures": 1, "lastFailureTime": "2026-01-01T00:00:00Z", "reason": "Blocked",
                    "message": "m", "nextAttemptTime": "2026-01-01T00:00:00Z",
                },
                "followers": {"count": 1, "names": ["shop/f"]}, "lastHandledRenewRequest": "before",
            },
        }))
        .unwrap();
        trim(&mut object);
        object
    }

    fn spec() -> Value {
        json!({
            "loginSecretRef": {"name": "login", "usernameKey": "u", "passwordKey": "p"},
            "issuer": {
                "url": "https://issuer.example.com", "tokenPath": "/t", "refreshPath": "/r", "refreshRequest": "Nested",
                "caBundleRef": {"kind": "ConfigMap", "name": "ca", "key": "ca.pem"},
            },
            "allowedNamespaces": {"names": ["a"], "selector": {
                "matchLabels": {"b": "c"}, "matchExpressions": [{"key": "d", "operator": "In", "values": ["e"]}],
            }},
            "renewal": {"strategy": "Login", "renewBeforePercent": 30},
            "suspend": true,
            "target": {"secretName": "other", "creationPolicy": "Orphan", "template": {
                "type": "example.org/token", "data": {"a": "x"}, "metadata": {"labels": {"f": "g"}, "annotations": {"h": "i"}},
            }},
        })
    }

    #[test]
    fn a_credential_is_unpacked_as_it_was_packed() {
        let unpacked = PackedCredential::pack(object(&spec()), false).unwrap().unpack().unwrap().0.unwrap();
        assert_eq!(unpacked, object(&spec()).0.unwrap());
        assert!(!is_trimmed(&unpacked) && !is_status_left_out(&unpacked));
        let large = json!({
            "loginSecretRef": {"name": "login"}, "target": {"template": {"data": {"a": "x".repeat(5000)}}},
        });
        let packed = PackedCredential::pack(object(&large), true).unwrap();
        let unpacked = packed.unpack().unwrap().0.unwrap();
        assert!(is_trimmed(&unpacked) && is_status_left_out(&unpacked));
    }

    #[test]
    fn without_its_status_it_is_known_who_keeps_it_and_when_its_token_expires() {
        let whole = object(&spec()).0.unwrap();
        let mut later = PackedCredential::pack(object(&spec()), false).unwrap();
        later.leave_out_status().unwrap();
        for packed in [PackedCredential::pack(object(&spec()), true).unwrap(), later] {
            let unpacked = packed.unpack().unwrap().0.unwrap();
            assert!(is_status_left_out(&unpacked));
            assert_eq!(packed.expiration().unwrap().to_string(), "2026-01-01T01:00:00Z");
            assert_eq!((&unpacked.spec, unpacked.renew_request()), (&whole.spec, Some("now")));
            let status = unpacked.status.unwrap();
            assert_eq!((status.token, status.observed_generation), (None, None));
            assert_eq!(status.controller.as_deref(), Some("shop/operator"));
            assert_eq!(status.claimed_by.as_deref(), Some("shop/another"));
        }
    }

    #[test]
    fn a_malformed_one_stays_what_it_is() {
        let packed = PackedCredential::pack(object(&json!({"suspend": "often"})), true).unwrap();
        let malformed = packed.unpack().unwrap().0.unwrap_err();
        assert_eq!(*malformed, *object(&json!({"suspend": "often"})).0.unwrap_err());
        assert_eq!((malformed.name.as_deref(), packed.expiration()), (Some("billing"), None));
    }
}
