//! Credentials as another version of the operator, or of the CRD, may have written them.

use kube::api::DynamicObject;

use super::failure::{Failure, FailureKind};
use crate::api::{IdIssuerCredential, KIND};

/// The credentials of a list. One that is not understood hides no other.
#[derive(Clone, Debug, Default)]
pub(super) struct Credentials {
    pub(super) known: Vec<IdIssuerCredential>,
    /// Namespaces and names of those that are not understood.
    pub(super) unknown: Vec<String>,
}

impl Credentials {
    /// Reads each for itself. What is wrong with one is not told: an error might repeat its text.
    pub(super) fn of(objects: Vec<DynamicObject>) -> Self {
        let mut found = Self::default();
        for object in objects {
            let metadata = &object.metadata;
            let (namespace, name) = (metadata.namespace.as_deref(), metadata.name.as_deref());
            let path = format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default());
            match object.try_parse() {
                Ok(credential) => found.known.push(credential),
                Err(_) => found.unknown.push(path),
            }
        }
        found
    }

    /// What to say of each that is not understood.
    pub(super) fn notes(&self) -> impl Iterator<Item = String> {
        self.unknown.iter().map(|path| {
            format!(
                "{KIND} {path} is not understood: another version wrote it, or it is malformed; use the plugin of the \
                 operator's version"
            )
        })
    }

    /// All of them, for a command that must not leave one out.
    pub(super) fn all(self) -> Result<Vec<IdIssuerCredential>, Failure> {
        let note = self.notes().next();
        match note {
            None => Ok(self.known),
            Some(note) => Err(Failure::new(FailureKind::Failed, note)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "the callers write it in place")]
    fn object(name: &str, spec: Value, status: Value) -> DynamicObject {
        let object = json!({
            "apiVersion": "idissuer.pl/v1alpha1", "kind": "IdIssuerCredential",
            "metadata": {"namespace": "shop", "name": name}, "spec": spec, "status": status,
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn one_that_is_not_understood_is_named_and_hides_no_other() {
        let login = json!({"loginSecretRef": {"name": "login"}});
        let newer = json!({"token": {"grant": "Device"}});
        let objects = vec![
            object("older", login.clone(), json!({"conditions": []})),
            object("newer", login.clone(), newer),
            object("richer", login, json!({"conditions": [], "invented": {"later": true}})),
            object("malformed", json!({"loginSecretRef": "hush"}), Value::Null),
        ];
        let found = Credentials::of(objects);
        let names: Vec<_> = found.known.iter().filter_map(|it| it.metadata.name.as_deref()).collect();
        assert_eq!(names, ["older", "richer"]);
        assert_eq!(found.unknown, ["shop/newer", "shop/malformed"]);
        assert!(found.notes().all(|note| !note.contains("hush") && note.contains("; use the plugin")));
        assert!(found.all().unwrap_err().message.contains("shop/newer"));
    }
}
