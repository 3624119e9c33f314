//! What a specification says of sharing, checked again.

use kube::ResourceExt;

use super::super::patterns::{NAMESPACE, is_match};
use super::super::spec::name;
use crate::api::{self, IdIssuerCredential, LabelExpression, LabelOperator, NamespaceSelector, rules};
use crate::core::object_name::NamespacedName;
use crate::core::reason::Reason;
use crate::core::sharing::{ALL_NAMESPACES, AllowedNamespaces, Expression, Operator, Selector, SharingRole};

const NAMES: &str = "spec.allowedNamespaces.names";
const SELECTOR: &str = "spec.allowedNamespaces.selector";

/// The part of a credential in sharing. One that is contradictory has none.
pub(in crate::controller) fn sharing_role(credential: &IdIssuerCredential) -> SharingRole {
    let spec = &credential.spec;
    let role = match (&spec.login_secret_ref, &spec.credential_ref) {
        (Some(_), None) => allowed_namespaces(spec.allowed_namespaces.as_ref()).map(SharingRole::Owner),
        (None, Some(_)) => followed(credential).map(SharingRole::Follower),
        (Some(_), Some(_)) | (None, None) => return SharingRole::None,
    };
    role.unwrap_or_default()
}

/// The credential that this one follows. It has no login, issuer or strategy of its own, and nobody follows it.
///
/// # Errors
/// What the schema should have refused.
pub(in crate::controller) fn followed(credential: &IdIssuerCredential) -> Result<NamespacedName, Reason> {
    let spec = &credential.spec;
    let refused = |field| Err(Reason::InvalidSpec { field });
    let Some(reference) = &spec.credential_ref else { return refused("spec.credentialRef") };
    if spec.issuer.is_some() {
        return refused("spec.issuer");
    }
    if spec.renewal.strategy != api::Strategy::Auto {
        return refused("spec.renewal.strategy");
    }
    if spec.allowed_namespaces.is_some() {
        return refused("spec.allowedNamespaces");
    }
    let namespace = match &reference.namespace {
        Some(namespace) => namespace_name("spec.credentialRef.namespace", namespace)?,
        None => credential.namespace().unwrap_or_default(),
    };
    Ok(NamespacedName::new(namespace, name("spec.credentialRef.name", &reference.name)?))
}

/// The namespaces in which a credential permits others to follow it.
///
/// # Errors
/// What the schema should have refused.
pub(in crate::controller) fn allowed_namespaces(
    allowed: Option<&api::AllowedNamespaces>,
) -> Result<AllowedNamespaces, Reason> {
    let Some(allowed) = allowed else { return Ok(AllowedNamespaces::default()) };
    if allowed.names.len() > rules::ALLOWED_NAMESPACES_MAX {
        return Err(Reason::InvalidSpec { field: NAMES });
    }
    let checked = allowed.names.iter().map(|name| match name.as_str() {
        ALL_NAMESPACES => Ok(name.clone()),
        name => namespace_name(NAMES, name),
    });
    let names = checked.collect::<Result<_, _>>()?;
    Ok(AllowedNamespaces { names, selector: allowed.selector.as_ref().map(selector).transpose()? })
}

fn selector(selector: &NamespaceSelector) -> Result<Selector, Reason> {
    let refused = Err(Reason::InvalidSpec { field: SELECTOR });
    let NamespaceSelector { match_labels, match_expressions } = selector;
    let labels = match_labels.iter().map(|(key, value)| {
        Ok(Expression { key: key.clone(), operator: Operator::In([value.clone()].into()) })
    });
    let expressions = match_expressions.iter().map(expression);
    let all: Vec<_> = labels.chain(expressions).collect::<Result<_, _>>()?;
    let is_allowed = |length: usize| length <= rules::SELECTOR_MAX_EXPRESSIONS;
    if all.is_empty() || !is_allowed(match_labels.len()) || !is_allowed(match_expressions.len()) {
        return refused;
    }
    Ok(Selector::of(all))
}

fn expression(LabelExpression { key, operator, values }: &LabelExpression) -> Result<Expression, Reason> {
    let set = || values.iter().cloned().collect();
    let operator = match operator {
        LabelOperator::In if !values.is_empty() => Operator::In(set()),
        LabelOperator::NotIn if !values.is_empty() => Operator::NotIn(set()),
        LabelOperator::Exists if values.is_empty() => Operator::Exists,
        LabelOperator::DoesNotExist if values.is_empty() => Operator::DoesNotExist,
        _ => return Err(Reason::InvalidSpec { field: SELECTOR }),
    };
    if values.len() > rules::SELECTOR_MAX_VALUES {
        return Err(Reason::InvalidSpec { field: SELECTOR });
    }
    Ok(Expression { key: key.clone(), operator })
}

fn namespace_name(field: &'static str, text: &str) -> Result<String, Reason> {
    is_match(&NAMESPACE, text).then(|| text.to_owned()).ok_or(Reason::InvalidSpec { field })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::spec::tests::{credential, parse};
    use super::*;
    use crate::core::observed::AccountReference;

    #[test]
    fn what_the_schema_refuses_of_sharing_is_refused_again() {
        let login = json!({"name": "login"});
        let expression = |expression: Value| {
            let selector = json!({"matchExpressions": [expression]});
            json!({"loginSecretRef": login, "allowedNamespaces": {"selector": selector}})
        };
        let many = vec!["shop"; rules::ALLOWED_NAMESPACES_MAX + 1];
        let cases = [
            json!({}),
            json!({"loginSecretRef": login, "credentialRef": {"name": "other"}}),
            json!({"credentialRef": {"name": "A"}}),
            json!({"credentialRef": {"name": "other", "namespace": "a.b"}}),
            json!({"credentialRef": {"name": "other"}, "issuer": {}}),
            json!({"credentialRef": {"name": "other"}, "renewal": {"strategy": "Login"}}),
            json!({"credentialRef": {"name": "other"}, "allowedNamespaces": {}}),
            json!({"loginSecretRef": login, "allowedNamespaces": {"names": ["shop*"]}}),
            json!({"loginSecretRef": login, "allowedNamespaces": {"names": many}}),
            json!({"loginSecretRef": login, "allowedNamespaces": {"selector": {}}}),
            expression(json!({"key": "team", "operator": "In"})),
            expression(json!({"key": "team", "operator": "Exists", "values": ["x"]})),
            expression(json!({"key": "team", "operator": "In", "values": many})),
        ];
        for spec in cases {
            let found = parse(&credential(&spec));
            assert_eq!(found.err().map(|reason| reason.name()), Some("InvalidSpec"), "{spec}");
        }
    }

    #[test]
    fn a_follower_names_a_credential_of_its_own_namespace_unless_it_says_another() {
        for (reference, followed) in [
            (json!({"name": "owner"}), NamespacedName::new("shop", "owner")),
            (json!({"namespace": "platform", "name": "owner"}), NamespacedName::new("platform", "owner")),
        ] {
            let follower = credential(&json!({"credentialRef": reference}));
            assert_eq!(parse(&follower).unwrap().account, AccountReference::Followed(followed.clone()));
            assert_eq!(sharing_role(&follower), SharingRole::Follower(followed));
        }
    }

    #[test]
    fn a_contradictory_credential_has_no_part_in_sharing() {
        for spec in [
            json!({"loginSecretRef": {"name": "login"}, "credentialRef": {"name": "owner"}}),
            json!({"loginSecretRef": {"name": "login"}, "allowedNamespaces": {"names": ["*", "shop*"]}}),
            json!({"credentialRef": {"name": "owner"}, "allowedNamespaces": {"names": ["*"]}}),
            json!({}),
        ] {
            assert_eq!(sharing_role(&credential(&spec)), SharingRole::None, "{spec}");
        }
    }

    #[test]
    fn a_selector_is_all_of_its_labels_and_expressions() {
        let owner = credential(
            &json!({"loginSecretRef": {"name": "login"}, "allowedNamespaces": {"selector": {
                "matchLabels": {"team": "sales"},
                "matchExpressions": [
                    {"key": "tier", "operator": "NotIn", "values": ["test"]}, {"key": "audited", "operator": "Exists"},
                    {"key": "legacy", "operator": "DoesNotExist"},
                ],
            }}}),
        );
        let is = |key: &str, operator: Operator| Expression { key: key.to_owned(), operator };
        let selector = Selector::of(vec![
            is("team", Operator::In(["sales".to_owned()].into())),
            is("tier", Operator::NotIn(["test".to_owned()].into())),
            is("audited", Operator::Exists),
            is("legacy", Operator::DoesNotExist),
        ]);
        let allowed = AllowedNamespaces { selector: Some(selector), ..AllowedNamespaces::default() };
        assert_eq!(sharing_role(&owner), SharingRole::Owner(allowed));
        assert!(parse(&owner).unwrap().has_namespace_selector);
    }
}
