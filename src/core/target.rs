//! The target Secret: its desired content, and its ownership.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::object_name::NamespacedName;
use super::reason::Reason;
use super::schedule::{Jitter, RenewBefore, Schedule};
use super::template::{CredentialName, Data, Template, Values};
use super::time::to_second;
use super::token::{AccessToken, Claims, Fingerprint, IssuedToken, Validity};

/// Which credential a decision is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its name, and its namespace, which all that it refers to shares.
    pub object: NamespacedName,
    /// Its UID: a deleted and re-created credential is another one.
    pub uid: String,
}

/// What the specification wants of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetSpec {
    /// The Secret's name.
    pub secret: String,
    /// Whether the Secret goes when the credential goes.
    pub owned: bool,
    /// The Secret's type.
    pub secret_type: String,
    /// Labels beside our own.
    pub labels: BTreeMap<String, String>,
    /// Annotations beside our own.
    pub annotations: BTreeMap<String, String>,
    /// The data of the Secret.
    pub template: Template,
}

impl TargetSpec {
    /// The target of a resource that sets nothing of it.
    #[must_use]
    pub fn minimal(secret: &str) -> Self {
        Self {
            secret: secret.to_owned(),
            owned: true,
            secret_type: "Opaque".to_owned(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            template: Template::default(),
        }
    }
}

/// One version of one object. The resourceVersion alone would fence nothing after a delete and a create.
///
/// A version is remembered where it was seen, where it was written and in status, so clones share the texts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectVersion {
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// `metadata.resourceVersion`.
    pub resource_version: Arc<str>,
}

/// A target to write. It has no Debug, which would show the token.
pub struct Manifest {
    /// The data, rendered.
    pub data: Data,
    /// The times and the name of the token in it, for people.
    pub annotations: TokenAnnotations,
}

/// The annotations on the target, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenAnnotations {
    /// When the token was issued.
    pub issued: Timestamp,
    /// When the token expires.
    pub expiration: Timestamp,
    /// When its renewal is due.
    pub renewal: Timestamp,
    /// Its name.
    pub fingerprint: Fingerprint,
}

impl TokenAnnotations {
    /// Of a token, with the renewal that the credential wants. Times are cut to seconds, as status holds them.
    #[must_use]
    pub fn of(validity: &Validity, fingerprint: &Fingerprint, wanted: RenewBefore, jitter: Jitter) -> Self {
        let validity = validity.as_recorded();
        let schedule = Schedule::of(&validity, wanted, jitter);
        Self {
            issued: validity.issued.wall,
            expiration: schedule.expiry.wall,
            renewal: to_second(schedule.renewal.wall),
            fingerprint: fingerprint.clone(),
        }
    }
}

/// Renders the target for a token.
///
/// # Errors
/// The template's, see [`Template::render`].
pub fn render(
    spec: &TargetSpec,
    identity: &Identity,
    token: &IssuedToken,
    annotations: TokenAnnotations,
) -> Result<Manifest, Reason> {
    let data = spec.template.render(&Values {
        token: token.access.expose(),
        expires_at: Some(&annotations.expiration.to_string()),
        issued_at: Some(&annotations.issued.to_string()),
        expires_in: Some(token.validity.lifetime.as_secs()),
        credential: Some(CredentialName {
            namespace: &identity.object.namespace,
            name: &identity.object.name,
        }),
    })?;
    Ok(Manifest { data, annotations })
}

/// The controller ownerReference of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerOwner {
    /// Whether it is of our group and kind.
    pub is_credential: bool,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// A target as it was read, without its data but for the token that was recognised in it.
#[derive(Clone, Debug)]
pub struct TargetSnapshot {
    /// The version that was read.
    pub version: ObjectVersion,
    /// Its type.
    pub secret_type: String,
    /// Whether its data can be changed.
    pub immutable: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// The credential that our annotation on it names.
    pub names_credential: Option<String>,
    /// The owner with `controller: true`.
    pub controller: Option<ControllerOwner>,
    /// The published token, recognised by its fingerprint in one of the keys.
    pub token: Option<AccessToken>,
    /// Whether all fields that we own are as for the published token. Fields of others are ignored.
    pub intact: bool,
}

impl TargetSnapshot {
    /// Whether this Secret may be written for the credential.
    ///
    /// A Secret is ours if our status has its uid or its annotation names us, and no other controller owns it. No other
    /// Secret is ever written; otherwise a tenant could use the controller's permissions to overwrite Secrets of
    /// others.
    ///
    /// # Errors
    /// The reason why not, with the cure.
    pub fn judge(
        &self,
        identity: &Identity,
        spec: &TargetSpec,
        recorded: Option<&ObjectVersion>,
    ) -> Result<(), Reason> {
        let secret = spec.secret.clone();
        let predecessor = |owner: &ControllerOwner| {
            owner.is_credential && *owner.name == *identity.object.name && owner.uid != identity.uid
        };
        let recorded_here = recorded.is_some_and(|version| version.uid == self.version.uid);
        let named_here = self.names_credential.as_deref() == Some(&*identity.object.name);
        match &self.controller {
            Some(owner) if predecessor(owner) => {
                return Err(Reason::TargetPendingDeletion { secret });
            }
            Some(owner) if owner.uid != identity.uid => return Err(Reason::TargetConflict { secret }),
            _ if !recorded_here && !named_here => return Err(Reason::TargetConflict { secret }),
            _ => {}
        }
        if self.deleting {
            return Err(Reason::TargetPendingDeletion { secret });
        }
        if self.immutable {
            return Err(Reason::TargetImmutable { secret });
        }
        if self.secret_type != spec.secret_type {
            return Err(Reason::TargetTypeMismatch { secret });
        }
        Ok(())
    }
}

/// Finds the token with this fingerprint among the values of a Secret.
///
/// It is trusted only when its own `exp`, if it states one, lies ahead of `now`.
#[must_use]
pub fn recognise<'a>(
    values: impl Iterator<Item = &'a [u8]>,
    fingerprint: &Fingerprint,
    now: Timestamp,
) -> Option<AccessToken> {
    values
        .filter(|value| Fingerprint::of(value) == *fingerprint)
        .filter_map(|value| std::str::from_utf8(value).ok())
        .find_map(|text| AccessToken::parse(text).ok())
        .filter(|token| Claims::of(token).exp.is_none_or(|exp| exp > now))
}

#[cfg(test)]
mod tests {
    use super::super::token::tests::jwt;
    use super::*;

    fn identity() -> Identity {
        Identity { object: NamespacedName::new("shop", "billing"), uid: "u1".into() }
    }

    fn spec() -> TargetSpec {
        TargetSpec::minimal("billing-token")
    }

    fn read() -> TargetSnapshot {
        TargetSnapshot {
            version: ObjectVersion { uid: "s1".into(), resource_version: "7".into() },
            secret_type: "Opaque".into(),
            immutable: false,
            deleting: false,
            names_credential: None,
            controller: None,
            token: None,
            intact: false,
        }
    }

    fn owner(is_credential: bool, name: &str, uid: &str) -> ControllerOwner {
        ControllerOwner { is_credential, name: name.into(), uid: uid.into() }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn a_secret_is_written_only_when_it_is_ours() {
        let named = || Some("billing".to_owned());
        let cases = [
            ("a stranger's", read(), None, Some("TargetConflict")),
            ("recorded in status", read(), Some("s1"), None),
            ("recorded, but deleted and created anew by someone", read(), Some("s0"), Some("TargetConflict")),
            ("our annotation", TargetSnapshot { names_credential: named(), ..read() }, None, None),
            (
                "another credential's annotation",
                TargetSnapshot { names_credential: Some("other".into()), ..read() },
                None,
                Some("TargetConflict"),
            ),
            (
                "our annotation, another controller's reference",
                TargetSnapshot {
                    names_credential: named(),
                    controller: Some(owner(false, "billing", "u9")),
                    ..read()
                },
                None,
                Some("TargetConflict"),
            ),
            (
                "recorded, but another credential became its owner",
                TargetSnapshot { controller: Some(owner(true, "other", "u9")), ..read() },
                Some("s1"),
                Some("TargetConflict"),
            ),
            (
                "our namesake's of an earlier life",
                TargetSnapshot {
                    names_credential: named(),
                    controller: Some(owner(true, "billing", "u0")),
                    ..read()
                },
                None,
                Some("TargetPendingDeletion"),
            ),
            (
                "ours, with our reference",
                TargetSnapshot {
                    names_credential: named(),
                    controller: Some(owner(true, "billing", "u1")),
                    ..read()
                },
                None,
                None,
            ),
            (
                "only our reference, put there by someone else",
                TargetSnapshot { controller: Some(owner(true, "billing", "u1")), ..read() },
                None,
                Some("TargetConflict"),
            ),
            (
                "ours, but immutable",
                TargetSnapshot { names_credential: named(), immutable: true, ..read() },
                None,
                Some("TargetImmutable"),
            ),
            (
                "ours, but of another type",
                TargetSnapshot {
                    names_credential: named(),
                    secret_type: "kubernetes.io/tls".into(),
                    ..read()
                },
                None,
                Some("TargetTypeMismatch"),
            ),
            (
                "ours, but being deleted",
                TargetSnapshot { names_credential: named(), deleting: true, ..read() },
                None,
                Some("TargetPendingDeletion"),
            ),
        ];
        for (case, read, recorded, expected) in cases {
            let recorded =
                recorded.map(|uid| ObjectVersion { uid: uid.into(), resource_version: "1".into() });
            let judged = read.judge(&identity(), &spec(), recorded.as_ref());
            assert_eq!(judged.err().map(|reason| reason.name()), expected, "{case}");
        }
    }

    #[test]
    fn a_token_is_recognised_by_its_fingerprint_unless_it_says_that_it_is_dead() {
        let live = jwt(r#"{"exp":4600}"#);
        let values = [b"noise".as_slice(), b"\xff\xff", live.expose().as_bytes()];
        let find = |fingerprint: &Fingerprint, now: i64| {
            let now = Timestamp::from_second(now).unwrap();
            recognise(values.into_iter(), fingerprint, now).map(|token| token.expose().to_owned())
        };
        assert_eq!(find(&live.fingerprint(), 4599).as_deref(), Some(live.expose()));
        assert_eq!(find(&live.fingerprint(), 4600), None, "its own exp has come");
        assert_eq!(find(&Fingerprint::recorded("0123"), 0), None);
    }
}
